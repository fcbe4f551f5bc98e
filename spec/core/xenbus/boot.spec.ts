import { expect } from 'chai';
import { Domain } from '../../../core/domain/domain.js';
import { asDomid, boot, type ContainerModuleLoadOptions } from '../../../core/index.js';

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

  it('loads the bindings of another copy of inversify, an author’s own, which are no instances of ours', () => {
    abstract class Answer {
      abstract readonly value: number;
    }
    class ContainerModule {
      load({ bind }: ContainerModuleLoadOptions): void {
        bind(Answer).toConstantValue({ value: 42 });
      }
    }
    using domain = new Domain(asDomid(1), 'domain', 'x86_64-abi');
    boot(domain, { default: new ContainerModule() }, 'file:///driver.js');
    expect(domain.get(Answer).value).to.equal(42);
  });

  it('refuses the bindings of an inversify that is too old, and says where to take them from', () => {
    class ContainerModule {
      registry(): void {}
    }
    expect(() => bootWith({ default: new ContainerModule() })).to.throw(
      TypeError,
      /^file:\/\/\/driver\.js: its bindings are made with an inversify that is too old .*: take ContainerModule and inject from splitring$/,
    );
  });

  it('refuses a module with neither drivers nor bindings', () => {
    expect(() => bootWith({ helper: () => {} })).to.throw(TypeError, 'file:///driver.js exports no driver');
  });
});
