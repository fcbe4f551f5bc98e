import { filter, firstValueFrom, map, race, Subject, type Subscription, take } from 'rxjs';
import type { Clock } from 'splitring';
import {
  BROADCAST,
  checksum,
  etherType,
  type Frame,
  Headers,
  ipProtocol,
  type Mac,
  type Nic,
  read16,
  verifyChecksum,
  write16,
  writeBlankChecksum,
} from 'splitring/drivers/net';
import { IP_AT, type Ipv4, internetChecksum, PAYLOAD_AT, read32, showIpv4, write32, writeHeaders } from './ipv4.js';

const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;
/** How long an answer is waited for, in ms. */
const TIMEOUT = 1000;
const UDP_AT = PAYLOAD_AT;
/** Bytes before a UDP datagram's data. */
export const UDP_HEADERS = UDP_AT + 8;

/** A datagram that came: its data is valid during the call. */
export interface Datagram {
  readonly from: Ipv4;
  readonly port: number;
  readonly data: Uint8Array;
}

/** A host on one network, as small as can be: ARP, IPv4 without fragments and routes, ICMP echo, UDP. It answers pings. */
export class Host implements Disposable {
  readonly #nic: Nic;
  readonly #clock: Clock;
  readonly #address: Ipv4;
  readonly #headers = new Headers();
  readonly #stations = new Map<Ipv4, Mac>();
  readonly #found$ = new Subject<Ipv4>();
  readonly #echoed$ = new Subject<number>();
  readonly #ports = new Map<number, (datagram: Datagram) => void>();
  readonly #subscription: Subscription;
  #ids = 0;

  constructor(nic: Nic, clock: Clock, address: Ipv4) {
    this.#nic = nic;
    this.#clock = clock;
    this.#address = address;
    this.#subscription = nic.frames$.subscribe((batch) => {
      for (const frame of batch) this.#receive(frame);
    });
  }

  /** The station that has an address. @throws when none answers */
  async resolve(address: Ipv4): Promise<Mac> {
    const known = this.#stations.get(address);
    if (known !== undefined) return known;
    const found = firstValueFrom(
      race(
        this.#found$.pipe(filter((one) => one === address)),
        this.#clock.timer$(TIMEOUT).pipe(map(() => undefined)),
      ).pipe(take(1)),
    );
    this.#nic.send(this.#arp(1, BROADCAST, address));
    await found;
    const station = this.#stations.get(address);
    if (station === undefined) throw new Error(`nobody answers for ${showIpv4(address)}`);
    return station;
  }

  /** Sends an ICMP echo request with `size` bytes of data; how long the answer took, in ms. @throws when there is none */
  async ping(address: Ipv4, sequence: number, size = 56): Promise<number> {
    const to = await this.resolve(address);
    const bytes = new Uint8Array(PAYLOAD_AT + 8 + size);
    bytes[PAYLOAD_AT] = ECHO_REQUEST;
    write16(bytes, PAYLOAD_AT + 6, sequence);
    for (let i = 0; i < size; i++) bytes[PAYLOAD_AT + 8 + i] = i;
    write16(bytes, PAYLOAD_AT + 2, internetChecksum(bytes, PAYLOAD_AT, bytes.length));
    this.#writeIp(bytes, to, address, ipProtocol.icmp);
    const answered = firstValueFrom(
      race(
        this.#echoed$.pipe(filter((one) => one === sequence)),
        this.#clock.timer$(TIMEOUT).pipe(map(() => undefined)),
      ).pipe(take(1)),
    );
    const begin = this.#clock.now();
    this.#nic.send(bytes);
    if ((await answered) === undefined) throw new Error(`${showIpv4(address)} does not answer pings`);
    return this.#clock.now() - begin;
  }

  /** From now on `hear` is given the datagrams that come for a port. */
  bind(port: number, hear: (datagram: Datagram) => void): void {
    this.#ports.set(port, hear);
  }

  /**
   * A UDP datagram with `size` bytes of data, to be sent again and again: its checksum is for others to finish. The data begins at
   * {@link UDP_HEADERS}.
   */
  datagram(to: Mac, address: Ipv4, port: number, source: number, size: number): Uint8Array {
    const bytes = new Uint8Array(UDP_HEADERS + size);
    write16(bytes, UDP_AT, source);
    write16(bytes, UDP_AT + 2, port);
    write16(bytes, UDP_AT + 4, 8 + size);
    this.#writeIp(bytes, to, address, ipProtocol.udp);
    if (this.#headers.parse(bytes, 0, bytes.length)) writeBlankChecksum(bytes, this.#headers);
    return bytes;
  }

  /** Sends such datagrams, as there is room. */
  send(frames: readonly Uint8Array[]): Promise<void> {
    return this.#nic.sendAll(frames.map((bytes) => ({ bytes, checksum: checksum.blank })));
  }

  [Symbol.dispose](): void {
    this.#subscription.unsubscribe();
  }

  #receive(frame: Frame): void {
    const { bytes, offset, length } = frame;
    const type = read16(bytes, offset + 12);
    if (type === etherType.arp && length >= 42) this.#receiveArp(bytes, offset);
    else if (type === etherType.ipv4 && length >= PAYLOAD_AT && read32(bytes, offset + IP_AT + 16) === this.#address)
      this.#receiveIp(frame);
  }

  #receiveIp(frame: Frame): void {
    const { bytes, offset, length } = frame;
    const ip = offset + IP_AT;
    const header = ((bytes[ip] as number) & 15) * 4;
    const end = ip + read16(bytes, ip + 2);
    const transport = ip + header;
    if (header < 20 || end > offset + length || transport + 8 > end) return;
    if ((read16(bytes, ip + 6) & 0x3fff) !== 0 || internetChecksum(bytes, ip, transport) !== 0) return;
    const from = read32(bytes, ip + 12);
    if (bytes[ip + 9] === ipProtocol.icmp) this.#receiveIcmp(frame, transport, end, from);
    if (bytes[ip + 9] !== ipProtocol.udp || !this.#headers.parse(bytes, offset, length)) return;
    // A blank checksum says that the data is as it was sent; one that nobody vouches for is verified.
    if (frame.checksum === checksum.unknown && !verifyChecksum(bytes, this.#headers)) return;
    const data = bytes.subarray(this.#headers.payload, this.#headers.end);
    this.#ports.get(read16(bytes, transport + 2))?.({ from, port: read16(bytes, transport), data });
  }

  #receiveIcmp({ bytes, offset }: Frame, at: number, end: number, from: Ipv4): void {
    if (internetChecksum(bytes, at, end) !== 0) return;
    if (bytes[at] === ECHO_REPLY) this.#echoed$.next(read16(bytes, at + 6));
    if (bytes[at] !== ECHO_REQUEST) return;
    const answer = new Uint8Array(PAYLOAD_AT + (end - at));
    answer.set(bytes.subarray(at, end), PAYLOAD_AT);
    answer[PAYLOAD_AT] = ECHO_REPLY;
    write16(answer, PAYLOAD_AT + 2, 0);
    write16(answer, PAYLOAD_AT + 2, internetChecksum(answer, PAYLOAD_AT, answer.length));
    this.#writeIp(answer, bytes.slice(offset + 6, offset + 12), from, ipProtocol.icmp);
    this.#nic.send(answer);
  }

  #receiveArp(bytes: Uint8Array, offset: number): void {
    const at = offset + 14;
    if (read16(bytes, at) !== 1 || read16(bytes, at + 2) !== etherType.ipv4) return;
    const sender = read32(bytes, at + 14);
    const isMine = read32(bytes, at + 24) === this.#address;
    // Who speaks to others is remembered only where it was before: a network has more stations than this host talks to.
    if (!isMine && !this.#stations.has(sender)) return;
    this.#stations.set(sender, bytes.slice(at + 8, at + 14));
    this.#found$.next(sender);
    if (read16(bytes, at + 6) === 1 && isMine) this.#nic.send(this.#arp(2, bytes.slice(at + 8, at + 14), sender));
  }

  /** An ARP packet: 1 asks who has an address, 2 answers who asked from it (RFC 826). */
  #arp(operation: 1 | 2, to: Mac, address: Ipv4): Uint8Array {
    const bytes = new Uint8Array(60);
    bytes.set(to, 0);
    bytes.set(this.#nic.mac, 6);
    write16(bytes, 12, etherType.arp);
    write16(bytes, 14, 1);
    write16(bytes, 16, etherType.ipv4);
    write16(bytes, 18, 0x0604);
    write16(bytes, 20, operation);
    bytes.set(this.#nic.mac, 22);
    write32(bytes, 28, this.#address);
    if (operation === 2) bytes.set(to, 32);
    write32(bytes, 38, address);
    return bytes;
  }

  #writeIp(bytes: Uint8Array, to: Mac, destination: Ipv4, protocol: number): void {
    this.#ids = (this.#ids + 1) & 0xffff;
    const length = bytes.length - PAYLOAD_AT;
    const source = this.#address;
    writeHeaders(bytes, { to, from: this.#nic.mac }, { source, destination, protocol, length, id: this.#ids });
  }
}
