import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { XenUnavailable } from './unavailable.js';

interface PipeHandle {
  open(fd: number): number;
  close(): void;
}

interface PipeBinding {
  readonly Pipe: new (type: number) => PipeHandle;
  readonly constants: { readonly SOCKET: number };
}

const bindingOf = (): PipeBinding => {
  const { binding } = process as { readonly binding?: (name: string) => unknown };
  const found = binding?.call(process, 'pipe_wrap') as PipeBinding | undefined;
  if (typeof found?.Pipe === 'function') return found;
  throw new XenUnavailable(`Node ${process.versions.node} no longer lets a device be polled: use an older one`);
};

const handleOf = (fd: number): PipeHandle => {
  try {
    const { Pipe, constants } = bindingOf();
    const handle = new Pipe(constants.SOCKET);
    const result = handle.open(fd);
    if (result === 0) return handle;
    handle.close();
    throw new XenUnavailable(`descriptor ${fd} cannot be polled: error ${-result}`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
};

/**
 * A character device that can be polled, as a stream of the event loop: neither a thread that waits in read() nor a helper process, and
 * quicker than either. Node offers that for pipes, sockets and terminals; the handle of a pipe takes any descriptor that epoll does, but
 * only its undocumented constructor lets one be made.
 * @param fd belongs to the stream from now on, and is closed where there is none
 * @param buffer where to read to, for `onRead`, instead of events `data`
 * @throws XenUnavailable when this Node does not let it be polled
 */
export const deviceStream = (fd: number, buffer?: Uint8Array, onRead?: (bytes: number) => void): Socket => {
  const handle = handleOf(fd);
  const onread = buffer && {
    buffer,
    callback: (bytes: number): boolean => {
      onRead?.(bytes);
      return true;
    },
  };
  // What is documented of a Socket knows no handle.
  const options: object = { handle, readable: true, writable: true, ...(onread && { onread }) };
  return new Socket(options);
};
