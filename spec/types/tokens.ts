// An abstract class is a token, and only what it promises can be bound to it (core/domain).
import { Container, type Newable } from 'inversify';
import { Clock } from '../../core/domain/clock.js';
import { EventChannels } from '../../core/domain/event-channels.js';
import { GrantTable } from '../../core/domain/grant-table.js';
import { XenStore } from '../../core/domain/xenstore.js';

declare const channels: EventChannels;
declare const SimulatedClock: Newable<Clock>;
const container = new Container();

container.bind(EventChannels).toConstantValue(channels);
container.bind(Clock).to(SimulatedClock);
const clock: Clock = container.get(Clock);
// @ts-expect-error a value of another token
container.bind(GrantTable).toConstantValue(channels);
// @ts-expect-error a class of another token
container.bind(GrantTable).to(SimulatedClock);
// @ts-expect-error what makes a value of another token
container.bind(XenStore).toDynamicValue(() => channels);
// @ts-expect-error the token itself is no implementation
container.bind(Clock).to(Clock);
// @ts-expect-error a token is not made by hand
new GrantTable();
// @ts-expect-error what a token gives is of its type
const store: XenStore = container.get(GrantTable);
// @ts-expect-error an implementation lacks part of what its token promises
class Stopped extends Clock {
  override now(): number {
    return 0;
  }
}
