import { expect } from 'chai';
import fc from 'fast-check';
import type { RawClient } from '../support/raw-client.js';
import { StoreMachine } from '../support/store-machine.js';

/** A node of the plain model. */
interface ModelNode {
  value: string;
  permissions: string[];
  readonly children: Map<string, ModelNode>;
}

type Step =
  | { readonly op: 'READ' | 'DIRECTORY' | 'GET_PERMS' | 'MKDIR' | 'RM'; readonly path: string }
  | { readonly op: 'WRITE'; readonly path: string; readonly value: string }
  | { readonly op: 'SET_PERMS'; readonly path: string; readonly permissions: readonly string[] };

/** The right that an operation needs: r, w or ownership. */
const wants = { READ: 'r', DIRECTORY: 'r', GET_PERMS: 'r', WRITE: 'w', MKDIR: 'w', RM: 'w', SET_PERMS: 'o' } as const;

/** The store as its document tells it, without transactions: a tree of objects, walked down from the root. */
class Model {
  readonly root: ModelNode = { value: '', permissions: ['n0'], children: new Map() };

  run(domid: number, step: Step): string {
    const names = step.path.split('/').filter((name) => name !== '');
    const trail = [this.root];
    for (const name of names) {
      const next = trail.at(-1)?.children.get(name);
      if (next === undefined) break;
      trail.push(next);
    }
    const nearest = trail.at(-1) ?? this.root;
    const node = trail.length > names.length ? nearest : undefined;
    const wanted = wants[step.op];
    if (node !== undefined && !may(domid, node, wanted)) return 'EACCES';
    if (node === undefined && !may(domid, nearest, wanted === 'o' ? 'w' : wanted)) return 'EACCES';
    if (step.op === 'WRITE' || step.op === 'MKDIR') {
      const made = node ?? this.#make(domid, nearest, names.slice(trail.length - 1));
      if (step.op === 'WRITE') made.value = step.value;
      return 'OK';
    }
    if (step.op === 'RM') {
      if (node === undefined) return trail.length === names.length ? 'OK' : 'ENOENT';
      if (node === this.root) return 'EINVAL';
      trail.at(-2)?.children.delete(names.at(-1) ?? '');
      return 'OK';
    }
    if (node === undefined) return 'ENOENT';
    if (step.op !== 'SET_PERMS') {
      if (step.op === 'READ') return node.value;
      return step.op === 'DIRECTORY' ? [...node.children.keys()].join('|') : node.permissions.join('|');
    }
    if (domid !== 0 && step.permissions[0]?.slice(1) !== node.permissions[0]?.slice(1)) return 'EPERM';
    node.permissions = [...step.permissions];
    return 'OK';
  }

  #make(domid: number, above: ModelNode, names: readonly string[]): ModelNode {
    let node = above;
    for (const name of names) {
      const [first = '', ...rest] = node.permissions;
      const permissions = [domid === 0 ? first : `${first[0]}${domid}`, ...rest];
      const child: ModelNode = { value: '', permissions, children: new Map() };
      node.children.set(name, child);
      node = child;
    }
    return node;
  }
}

const may = (domid: number, { permissions }: ModelNode, wanted: string): boolean => {
  const [owner = '', ...others] = permissions;
  if (domid === 0 || owner.slice(1) === String(domid)) return true;
  const letter = (others.find((permission) => permission.slice(1) === String(domid)) ?? owner)[0] ?? 'n';
  return letter === 'b' ? wanted !== 'o' : letter === wanted;
};

const path = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }).map((names) => ['/t', ...names].join('/'));
const permission = fc
  .tuple(fc.constantFrom('n', 'r', 'w', 'b', 'b'), fc.nat(2))
  .map(([letter, domid]) => letter + domid);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constantFrom('READ' as const, 'DIRECTORY' as const, 'GET_PERMS' as const), path }),
  fc.record({ op: fc.constantFrom('MKDIR' as const, 'RM' as const), path }),
  fc.record({ op: fc.constant('WRITE' as const), path, value: fc.constantFrom('', 'x', 'yy') }),
  fc.record({ op: fc.constant('WRITE' as const), path, value: fc.constantFrom('1', '2') }),
  fc.record({
    op: fc.constant('SET_PERMS' as const),
    path,
    permissions: fc.array(permission, { minLength: 1, maxLength: 3 }),
  }),
);

const texts = (step: Step): string[] => {
  if (step.op === 'WRITE') return [step.path, step.value];
  return step.op === 'SET_PERMS' ? [step.path, ...step.permissions] : [step.path];
};

/** A store, the plain model, and three clients: dom0 and two guests. */
const world = () => {
  const machine = new StoreMachine();
  const clients = [machine.dom0, machine.raw(1), machine.raw(2)] as const;
  const model = new Model();
  for (const permissions of [['b0'], ['b0', 'r1']]) {
    for (const first of [
      { op: 'WRITE', path: '/t', value: '' },
      { op: 'SET_PERMS', path: '/t', permissions },
    ] as const) {
      expect(machine.dom0.do(first.op, ...texts(first))).to.equal(model.run(0, first));
    }
  }
  return { machine, clients, model };
};

const compare = (dom0: RawClient, model: Model): void => {
  const walk = (at: string, node: ModelNode | undefined): void => {
    for (const op of ['READ', 'GET_PERMS', 'DIRECTORY'] as const) {
      expect(dom0.do(op, at), `${op} ${at}`).to.equal(model.run(0, { op, path: at }));
    }
    for (const [name, child] of node?.children ?? []) walk(`${at}/${name}`, child);
  };
  walk('/t', model.root.children.get('t'));
};

describe('the tree', () => {
  it('answers as a plain tree of objects does, whoever asks for what', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), step), { maxLength: 80, size: 'max' }), (steps) => {
        const { clients, model, machine } = world();
        for (const [who, what] of steps) {
          expect(clients[who as 0 | 1 | 2].do(what.op, ...texts(what)), JSON.stringify([who, what])).to.equal(
            model.run(who, what),
          );
        }
        compare(machine.dom0, model);
      }),
      { numRuns: 150 },
    );
  });

  it('is after any transactions as if each had run alone at its commit, with the same answers; a failed one left nothing', () => {
    const slot = fc.nat(3);
    const action = fc.oneof(
      { weight: 8, arbitrary: fc.record({ slot, step }) },
      { weight: 2, arbitrary: fc.record({ slot, end: fc.constantFrom('T' as const, 'T' as const, 'F' as const) }) },
      { weight: 2, arbitrary: fc.record({ plain: fc.nat(2), step }) },
    );
    let commits = 0;
    let conflicts = 0;
    fc.assert(
      fc.property(fc.array(action, { minLength: 60, maxLength: 120 }), (actions) => {
        const { clients, model, machine } = world();
        const open = new Map<number, { id: number; log: { step: Step; answer: string }[] }>();
        // Slots 0 and 1 are transactions of dom0, 2 and 3 of the guests.
        const clientOf = (at: number): { who: number; client: RawClient } => {
          const who = Math.max(0, at - 1);
          return { who, client: clients[who as 0 | 1 | 2] };
        };
        for (const what of actions) {
          if ('plain' in what) {
            const answer = clients[what.plain as 0 | 1 | 2].do(what.step.op, ...texts(what.step));
            expect(answer).to.equal(model.run(what.plain, what.step));
            continue;
          }
          const { who, client } = clientOf(what.slot);
          let transaction = open.get(what.slot);
          if (transaction === undefined) {
            transaction = { id: client.start(), log: [] };
            open.set(what.slot, transaction);
          }
          if ('step' in what) {
            const answer = client.doIn(transaction.id, what.step.op, ...texts(what.step));
            transaction.log.push({ step: what.step, answer });
            continue;
          }
          open.delete(what.slot);
          const answer = client.end(transaction.id, what.end);
          expect(['OK', 'EAGAIN']).to.include(answer);
          if (answer === 'EAGAIN') conflicts++;
          if (answer !== 'OK' || what.end === 'F') continue;
          commits++;
          for (const entry of transaction.log) expect(model.run(who, entry.step)).to.equal(entry.answer);
        }
        compare(machine.dom0, model);
      }),
      { numRuns: 150 },
    );
    expect(commits).to.be.greaterThan(200);
    expect(conflicts).to.be.greaterThan(100);
  });

  it('never has a node without its parent, nor a child that is no node', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), step), { maxLength: 60 }), (steps) => {
        const { clients, machine } = world();
        for (const [who, what] of steps) clients[who as 0 | 1 | 2].do(what.op, ...texts(what));
        machine.states.delete(1);
        machine.server.checkDomains();
        const walk = (at: string): void => {
          expect(machine.dom0.do('GET_PERMS', at)).to.match(/^[nrwb][02]/);
          const names = machine.dom0.do('DIRECTORY', at);
          expect(names).not.to.equal('ENOENT');
          for (const name of names.split('|')) if (name !== '') walk(`${at === '/' ? '' : at}/${name}`);
        };
        walk('/');
      }),
      { numRuns: 60 },
    );
  });
});
