import { firstValueFrom } from 'rxjs';
import { type Domain, type EventChannel, EventChannels, type Port, XenError } from 'splitring';
import { type PlatformName, platforms } from 'splitring/contract';
import type { Machine } from 'splitring/toolstack';

/** A machine with two guests, a frontend's and a backend's domain, and a third that has no part in what is between them. */
export interface Scene {
  readonly platform: PlatformName;
  readonly machine: Machine;
  readonly front: Domain;
  readonly back: Domain;
  readonly third: Domain;
}

/**
 * Runs a suite once for each platform, on a new machine for each test. It may use what the package exports, and nothing else.
 * @param system what the project was asked to implement, by number and name
 */
export const onEachPlatform = (system: string, suite: (scene: () => Scene) => void): void => {
  for (const platform of platforms) {
    describe(`${system}, on ${platform.name}`, () => {
      let scene: Scene | undefined;
      const current = (): Scene => {
        if (scene === undefined) throw new Error('there is a machine while a test runs, not before');
        return scene;
      };
      beforeEach(async () => {
        const machine = await platform.create({ seed: Math.floor(Math.random() * 2 ** 32) });
        const [front, back, third] = [
          await machine.guest('front'),
          await machine.guest('back'),
          await machine.guest('third'),
        ];
        scene = { platform: platform.name, machine, front, back, third };
      });
      afterEach(async () => {
        await scene?.machine[Symbol.asyncDispose]();
        scene = undefined;
      });
      suite(current);
    });
  }
};

/** The name of the errno with which a call is refused; undefined when it is not. */
export const refusal = (call: () => unknown): string | undefined => {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof XenError) return error.code;
    throw error;
  }
};

/** A channel between two domains, allocated by `a`; the event with which binding begins has been handled. */
export const connect = async ({
  front: a,
  back: b,
}: Pick<Scene, 'front' | 'back'>): Promise<{ near: EventChannel; far: EventChannel }> => {
  const near = a.get(EventChannels).allocUnbound(b.domid);
  const far = b.get(EventChannels).bindInterdomain(a.domid, near.port);
  await firstValueFrom(far);
  return { near, far };
};

/** Counts a channel's upcalls from now on. */
export const upcallsOf = (channel: {
  subscribe(next: () => void): unknown;
  readonly port: Port;
}): { count: number } => {
  const counter = { count: 0 };
  channel.subscribe(() => {
    counter.count++;
  });
  return counter;
};
