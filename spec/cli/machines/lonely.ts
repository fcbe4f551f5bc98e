import { firstValueFrom, switchMap } from 'rxjs';
import { devices$ } from 'splitring';
import { defineMachine } from 'splitring/machine';
import { RngFrontend } from '../../../examples/rng/frontend.js';

export const machine = defineMachine(
  {
    summary: 'a frontend whose backend never comes',
    options: {},
  },
  {
    async run({ machine }) {
      const guest = await machine.guest('guest');
      const { domid: backend } = await machine.guest('backend');
      await machine.toolstack.attach({ device: 'vrng', id: 0, frontend: guest.domid, backend });
      await firstValueFrom(devices$(guest, RngFrontend).pipe(switchMap(({ connections$ }) => connections$)));
      return true;
    },
  },
);
