import { styleText } from 'node:util';
import type { Shutdown } from '../core/index.js';
import type { MachineLogEntry } from '../core/toolstack/index.js';
import { messageOf } from './errors.js';
import { type Output, type Progress, size } from './machine.js';

/** The part of a stream that the output needs: `process.stdout`. */
export interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

type Style = Parameters<typeof styleText>[0];

/** How often a bar is drawn, in milliseconds. */
const REDRAW = 50;
const LABEL = 8;
const MIB = 1024 * 1024;

/** Every time is shown in this form, so that two runs can be compared without them. */
const time = (ms: number): string => `${ms.toFixed(1)} ms`;
/** As {@link time}, and rates. */
const rate = (bytes: number, ms: number): string => `${(bytes / MIB / Math.max(ms / 1000, 1e-6)).toFixed(1)} MiB/s`;

/** A text in lines of `width`, broken between words; a longer word has a line of its own. */
const wrapped = (text: string, width: number): readonly string[] => {
  const lines: string[] = [];
  for (const word of text.split(/(?<=\S) (?=\S)/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
};

/** Writes a machine's lines, and below them, on a terminal, a bar for what is under way. */
export class TerminalOutput implements Output {
  readonly #stream: OutputStream;
  readonly #env: NodeJS.ProcessEnv;
  readonly #live: boolean;
  readonly #coloured: boolean;
  #bar: (() => string) | undefined;
  #drawn = false;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #domainWidth = 0;
  #sourceWidth = 0;
  /** What each end of a device said last that it waits for, until it went on. */
  readonly #waits = new Map<string, string>();
  /** Which domains have crashed, and why. */
  readonly #crashes: string[] = [];

  constructor(stream: OutputStream, env: NodeJS.ProcessEnv) {
    this.#stream = stream;
    this.#env = env;
    this.#live = stream.isTTY === true && env.TERM !== 'dumb';
    this.#coloured = this.#live && (env.NO_COLOR ?? '') === '';
  }

  line(text = ''): void {
    this.#erase();
    this.#stream.write(`${text}\n`);
    this.#draw();
  }

  row(label: string, text: string): void {
    const lines = this.#live ? wrapped(text, this.#width - LABEL) : [text];
    const [first = '', ...others] = lines;
    this.line(
      [this.style('bold', label.padEnd(LABEL)) + first, ...others.map((line) => ' '.repeat(LABEL) + line)].join('\n'),
    );
  }

  progress(label: string, bytes: number): Progress {
    const start = performance.now();
    let done = 0;
    const bar = (): string => this.#barOf(label, done, bytes, performance.now() - start);
    this.#bar = bar;
    this.#drawnAt = Number.NEGATIVE_INFINITY;
    this.#draw();
    return {
      update: (now) => {
        done = now;
        if (performance.now() - this.#drawnAt >= REDRAW) this.#draw();
      },
      end: (ms = performance.now() - start) => {
        this.close();
        this.row(label, `${size(bytes)}  ${time(ms).padStart(10)}  ${rate(bytes, ms).padStart(14)}`);
      },
    };
  }

  /** A line of a domain's log, in columns that grow with what comes. */
  log({ time: at, domain, source, level, text }: MachineLogEntry): void {
    const who = `${domain} ${source}`;
    if (text.startsWith('waiting for ')) this.#waits.set(who, `${who}: ${text}`);
    else if (level === 'info') this.#waits.delete(who);
    this.#domainWidth = Math.max(this.#domainWidth, domain.length);
    this.#sourceWidth = Math.max(this.#sourceWidth, source.length);
    const stamp = this.style('dim', time(at).padStart(10));
    const said = level === 'info' ? text : this.style(level === 'error' ? 'red' : 'yellow', `${level}: ${text}`);
    this.line(`${stamp}  ${domain.padEnd(this.#domainWidth)}  ${source.padEnd(this.#sourceWidth)}  ${said}`);
  }

  /** Remembers a domain that has crashed. */
  shutdown({ name, module, error }: Shutdown): void {
    if (error === undefined) return;
    const from = module === undefined ? '' : ` (${module})`;
    this.#crashes.push(`${name}${from} crashed: ${messageOf(error)}`);
  }

  /** Text in a style where colours are welcome, else as it is. */
  style(style: Style, text: string): string {
    return this.#coloured ? styleText(style, text, { validateStream: false }) : text;
  }

  /** No bar any more. */
  close(): void {
    this.#erase();
    this.#bar = undefined;
  }

  /** Who has crashed, and who waits, for what and why. */
  get waits(): readonly string[] {
    return [...this.#crashes, ...this.#waits.values()];
  }

  get #width(): number {
    const columns = Number(this.#env.COLUMNS);
    return Number.isInteger(columns) && columns > 0 ? columns : (this.#stream.columns ?? 80);
  }

  #barOf(label: string, done: number, bytes: number, ms: number): string {
    const part = bytes === 0 ? 1 : Math.min(done / bytes, 1);
    const head = label.padEnd(LABEL);
    const percent = `${Math.floor(part * 100)}%`.padStart(4);
    const tail = `${percent}  ${rate(done, ms).padStart(14)}`;
    // The last column stays free: some terminals wrap when it is written.
    const room = this.#width - 1 - head.length - tail.length - 1;
    if (room < 8) return `${head}${percent}`.slice(0, Math.max(this.#width - 1, 0));
    const full = Math.round(part * Math.min(room, 50));
    return `${head}${'█'.repeat(full)}${'░'.repeat(Math.min(room, 50) - full)} ${tail}`;
  }

  #draw(): void {
    if (!this.#live || this.#bar === undefined) return;
    this.#stream.write(`\r\x1b[K${this.#bar()}`);
    this.#drawn = true;
    this.#drawnAt = performance.now();
  }

  #erase(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[K');
    this.#drawn = false;
  }
}
