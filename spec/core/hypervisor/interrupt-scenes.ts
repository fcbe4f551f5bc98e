import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control } from '../../../core/hypervisor/layout.js';
import { BIND_PIRQ_WILL_SHARE, mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { connect, dom0, dom1, dom2, dom3, ok } from './machine.js';
import type { Scene } from './scene.js';

const LINE = 20;

const map = (h: Hypervisor, ...domids: readonly Domid[]): void => {
  h.pirqs.setTrigger(LINE, 'level');
  for (const domid of domids) ok(h.pirqs.map(dom0, domid, mapPirqType.gsi, LINE, LINE));
};

/** Binds the line in domains that share it, and has them told of it. */
const share = (h: Hypervisor, ...domids: readonly Domid[]): void => {
  map(h, ...domids);
  for (const domid of domids) ok(h.pirqs.bind(domid, LINE, BIND_PIRQ_WILL_SHARE));
  h.pirqs.setLine(LINE, true);
};

/** Gives a domain a port of every kind. */
const furnish = (h: Hypervisor, domid: Domid): void => {
  connect(h, domid, dom2);
  ok(h.eventChannels.bindIpi(domid, 1));
  ok(h.virqs.bind(domid, virq.timer, 1));
  ok(h.virqs.bind(domid, virq.argo, 0));
  share(h, domid, dom3);
};

/** The calls about interrupts, and those that take many ports at once. */
export const interruptScenes: readonly Scene[] = [
  { name: 'bind_ipi', caller: dom1, prepare: (h) => () => ok(h.eventChannels.bindIpi(dom1, 1)) },
  { name: 'bind_virq', caller: dom1, prepare: (h) => () => ok(h.virqs.bind(dom1, virq.timer, 1)) },
  {
    name: 'close of a VIRQ, and binding it again',
    caller: dom1,
    prepare: (h) => {
      const port = ok<Port>(h.virqs.bind(dom1, virq.timer, 1));
      return () => {
        ok(h.eventChannels.close(dom1, port));
        ok(h.virqs.bind(dom1, virq.timer, 1));
      };
    },
  },
  {
    name: 'bind_vcpu',
    caller: dom1,
    prepare: (h) => {
      const [port] = connect(h, dom1, dom2);
      return () => ok(h.eventChannels.bindVcpu(dom1, port, 1));
    },
  },
  {
    name: 'handing a global VIRQ over',
    caller: dom0,
    prepare: (h) => () => ok(h.virqs.setHandler(dom0, dom1, virq.console)),
  },
  {
    name: 'mapping an interrupt, and taking it away',
    caller: dom0,
    prepare: (h) => () => {
      ok(h.pirqs.map(dom0, dom1, mapPirqType.gsi, LINE, 33));
      ok(h.pirqs.unmap(dom0, dom1, 33));
    },
  },
  {
    name: 'bind_pirq, with the line up',
    caller: dom1,
    prepare: (h) => {
      map(h, dom1);
      h.pirqs.setLine(LINE, true);
      return () => ok(h.pirqs.bind(dom1, LINE, 0));
    },
  },
  {
    name: 'the last EOI of a line that two domains share and that is up',
    caller: dom1,
    prepare: (h) => {
      share(h, dom2, dom1);
      ok(h.pirqs.eoi(dom2, LINE));
      return () => ok(h.pirqs.eoi(dom1, LINE));
    },
  },
  {
    name: 'close of a PIRQ that another domain shares and is waited for',
    caller: dom1,
    prepare: (h) => {
      map(h, dom2, dom1);
      ok(h.pirqs.bind(dom2, LINE, BIND_PIRQ_WILL_SHARE));
      const port = ok<Port>(h.pirqs.bind(dom1, LINE, BIND_PIRQ_WILL_SHARE));
      h.pirqs.setLine(LINE, true);
      ok(h.pirqs.eoi(dom2, LINE));
      return () => ok(h.eventChannels.close(dom1, port));
    },
  },
  {
    name: 'taking away an interrupt that is bound, and closing its port',
    caller: dom0,
    prepare: (h) => {
      share(h, dom0, dom1);
      return () => {
        ok(h.pirqs.unmap(dom0, DOMID_SELF, LINE));
        ok(h.eventChannels.close(dom0, 1 as Port));
      };
    },
  },
  {
    name: 'registering a page for EOIs',
    caller: dom1,
    prepare: (h) => {
      map(h, dom1);
      const frame = ok(h.pages.populate(dom1, dom1, 1));
      return () => {
        ok(h.pirqs.pirqEoiGmfn(dom1, frame, 1));
        ok(h.pirqs.bind(dom1, LINE, 0));
      };
    },
  },
  {
    name: 'reset',
    caller: dom1,
    prepare: (h) => {
      furnish(h, dom1);
      return () => ok(h.eventChannels.reset(dom1, DOMID_SELF));
    },
  },
  {
    name: 'reset of another, paused domain, in two steps',
    caller: dom0,
    prepare: (h) => {
      furnish(h, dom1);
      for (let i = 0; i < 60; i++) ok(h.eventChannels.bindIpi(dom1, 0));
      h.memory.words[h.memory.control(h.memory.slotOf(dom1)) + control.pauseCount] = 1;
      return () => ok(h.eventChannels.reset(dom0, dom1));
    },
  },
  {
    name: 'destroying a domain that has ports of every kind',
    caller: dom0,
    prepare: (h) => {
      furnish(h, dom1);
      ok(h.virqs.setHandler(dom0, dom1, virq.console));
      return () => ok(h.destroyDomain(dom0, dom1));
    },
  },
];
