import { expect } from 'chai';
import { errno } from '../../core/abi/errno.js';
import { gntst } from '../../core/abi/gntst.js';
import { asError, Disconnected, errorText, GrantError, PeerFault, XenError } from '../../core/errors.js';

describe('XenError', () => {
  it('carries the number of errno.h, whether it is given by number or by name', () => {
    expect(new XenError('ESRCH', 'bind').errno).to.equal(errno.ESRCH);
    expect(new XenError(errno.ESRCH, 'bind').errno).to.equal(errno.ESRCH);
  });

  it('names what was refused, and the error', () => {
    expect(new XenError('ENOSPC', 'alloc_unbound for domain 3').message).to.equal('alloc_unbound for domain 3: ENOSPC');
    expect(new XenError('ENOSPC', 'alloc_unbound').code).to.equal('ENOSPC');
  });

  it('shows a number that Xen does not use as it is', () => {
    expect(new XenError(200, 'read').message).to.equal('read: errno 200');
  });
});

describe('GrantError', () => {
  const errnoOf = (status: number): string => new GrantError(status, 'map of reference 9').code;

  it('keeps the status of grant_table.h and names it', () => {
    const error = new GrantError(gntst.bad_gntref, 'map of reference 9');
    expect(error.status).to.equal(-3);
    expect(error.message).to.equal('map of reference 9: GNTST_bad_gntref: EINVAL');
  });

  it('is an XenError with EAGAIN for GNTST_eagain, ENOSPC for GNTST_no_space and EINVAL for every other status', () => {
    const { okay: _, eagain, no_space, ...others } = gntst;
    expect(new GrantError(eagain, 'map')).to.be.instanceOf(XenError);
    expect(errnoOf(eagain)).to.equal('EAGAIN');
    expect(errnoOf(no_space)).to.equal('ENOSPC');
    for (const status of Object.values(others)) expect(errnoOf(status)).to.equal('EINVAL');
  });

  it('shows a status that Xen does not use as it is', () => {
    expect(new GrantError(-99, 'copy').message).to.contain('GNTST -99');
  });
});

describe('PeerFault', () => {
  it('names the field and the value that cannot be', () => {
    expect(new PeerFault('req_prod', 4294967295).message).to.equal('req_prod cannot be 4294967295');
    expect(new PeerFault('ring-ref', 'none').message).to.equal('ring-ref cannot be none');
  });

  it('is a sentence of its own where there is no value', () => {
    expect(new PeerFault('the peer closed its end of the ring').message).to.equal(
      'the peer closed its end of the ring',
    );
  });
});

describe('the three kinds of error', () => {
  it('are told apart by their names, also in a stack trace', () => {
    const kinds = [new XenError('EIO', 'a'), new GrantError(-1, 'a'), new PeerFault('a'), new Disconnected('a')];
    expect(kinds.map((kind) => kind.name)).to.eql(['XenError', 'GrantError', 'PeerFault', 'Disconnected']);
    for (const kind of kinds) expect(String(kind)).to.match(new RegExp(`^${kind.name}: a`));
  });

  it('do not pass for each other', () => {
    expect(new PeerFault('a')).not.to.be.instanceOf(XenError);
    expect(new Disconnected('a')).not.to.be.instanceOf(PeerFault);
    expect(new XenError('EIO', 'a')).not.to.be.instanceOf(GrantError);
  });
});

describe('whatever was thrown', () => {
  it('is an Error: the same, or one that says what it was', () => {
    const fault = new PeerFault('a');
    expect(asError(fault)).to.equal(fault);
    expect(asError('text').message).to.equal('text');
  });

  it('is told in one line, by its kind where it has one', () => {
    expect(errorText(new PeerFault('first\n  second'))).to.equal('PeerFault: first second');
    expect(errorText('text')).to.equal('text');
  });
});
