import { type BackLink, backend } from 'splitring';
import { echo } from './echo.js';

@backend(echo)
export class EchoBackend {
  connect({ serve }: BackLink<typeof echo>): void {
    serve((req, rsp) => {
      rsp.value = req.value;
    });
  }
}
