import { expect } from 'chai';
import { Domain } from '../../../core/domain/domain.js';
import { asDomid, boot } from '../../../core/index.js';

describe('boot', () => {
  const bootWith = (module: Readonly<Record<string, unknown>>): void => {
    using domain = new Domain(asDomid(1), 'domain', 'x86_64-abi');
    boot(domain, module, 'file:///driver.js');
  };

  it('refuses a module whose default export is no ContainerModule', () => {
    for (const bindings of [{}, () => {}, 'bindings', Object.create(null)]) {
      expect(() => bootWith({ default: bindings })).to.throw(
        TypeError,
        "file:///driver.js: the default export of a domain's module must be an inversify ContainerModule",
      );
    }
  });

  it('tells a module that was made with another copy of inversify, which looks alike', () => {
    class ContainerModule {}
    expect(() => bootWith({ default: new ContainerModule() })).to.throw(
      TypeError,
      /^file:\/\/\/driver\.js: its bindings are made with another copy of inversify .*npm ls inversify/,
    );
  });

  it('refuses a module with neither drivers nor bindings', () => {
    expect(() => bootWith({ helper: () => {} })).to.throw(TypeError, 'file:///driver.js exports no driver');
  });
});
