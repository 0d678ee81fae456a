/**
 * The sidebar: whether the server can be heard, and below it one section per panel. In the browser.
 */
import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import {
  CommandToolbarButton,
  ReactWidget,
  SidePanel,
  Toolbar,
  UseSignal
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import type { AccordionPanel } from '@lumino/widgets';
import * as React from 'react';

import { useClock } from './components/clock';
import { leptonIcon } from './icons';
import { CommandIDs, JOBS, SIDEBAR } from './ids';
import type { ITroubleMessage } from './protocol';
import type { ILepton, ILeptonPanel, ILeptonPanels, ILeptonStream } from './tokens';

// What one types is the same in all languages.
const INSTALL = 'pip install lepton-jupyter';
const LIST = 'jupyter server extension list';

export class LeptonSidebar extends SidePanel implements ILeptonPanels {
  constructor(
    private readonly lepton: ILepton,
    commands: CommandRegistry,
    translator: ITranslator,
    trans: TranslationBundle
  ) {
    super({ translator });
    this.id = SIDEBAR;
    this.addClass('lp-Sidebar');
    this.title.icon = leptonIcon;
    this.title.caption = trans.__('Jobs and targets that run elsewhere');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Lepton'));
    const { stream } = lepton;
    const state = ReactWidget.create(<StreamState stream={stream} trans={trans} />);
    this.toolbar.addItem('state', state);
    this.toolbar.addItem('spacer', Toolbar.createSpacerItem());
    for (const id of [CommandIDs.reconnect, CommandIDs.addTarget, CommandIDs.settings]) {
      this.toolbar.addItem(id, new CommandToolbarButton({ commands, id, label: '' }));
    }
    this.header.addWidget(ReactWidget.create(<Advice stream={stream} trans={trans} />));
  }

  add(panel: ILeptonPanel): IDisposable {
    if (this.panels.some(({ id }) => id === panel.id)) {
      throw new Error(`A panel named ${panel.id} is in the Lepton sidebar already`);
    }
    const at = this.panels.findIndex(({ rank }) => rank > panel.rank);
    const index = at < 0 ? this.panels.length : at;
    this.panels.splice(index, 0, panel);
    panel.widget.title.label = panel.title;
    this.insertWidget(index, panel.widget);
    this.share();
    return new DisposableDelegate(() => {
      this.panels = this.panels.filter(other => other !== panel);
      panel.widget.parent = null;
    });
  }

  override dispose(): void {
    this.shown?.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  /** Who asks for the panel by the keyboard goes on there by the keyboard. */
  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    const first = ['.lp-JobList', '.lp-Filter-text', 'button'].map(name =>
      this.node.querySelector<HTMLElement>(name)
    );
    first.find(Boolean)?.focus();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.shown ??= this.lepton.stream.show();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this.shown ??= this.lepton.stream.show();
    }
  }

  protected override onAfterHide(message: Message): void {
    this.rest();
    super.onAfterHide(message);
  }

  protected override onBeforeDetach(message: Message): void {
    this.rest();
    super.onBeforeDetach(message);
  }

  /** The list of jobs gets the most of the height, until the user moves the borders. */
  private share(): void {
    const sizes = this.panels.map(({ id }) => (id === JOBS ? 2 : 1));
    (this.content as AccordionPanel).setRelativeSizes(sizes);
  }

  private rest(): void {
    this.shown?.dispose();
    this.shown = null;
  }

  private panels: ILeptonPanel[] = [];
  private shown: IDisposable | null = null;
}

interface IStreamProps {
  stream: ILeptonStream;
  trans: TranslationBundle;
}

/** Whether what one sees is live, in words. */
function StreamState({ stream, trans }: IStreamProps): JSX.Element {
  return (
    <UseSignal signal={stream.statusChanged}>
      {() => (
        <div className="lp-Stream" role="status" data-status={stream.status}>
          <span className="lp-Stream-dot" aria-hidden="true" />
          {stream.status === 'waiting' ? (
            <Waiting stream={stream} trans={trans} />
          ) : (
            <span>{statusWords(stream.status, trans)}</span>
          )}
        </div>
      )}
    </UseSignal>
  );
}

function statusWords(status: ILeptonStream['status'], trans: TranslationBundle): string {
  switch (status) {
    case 'live':
      return trans.__('live');
    case 'missing':
      return trans.__('server extension missing');
    case 'refused':
      return trans.__('the server refuses: log in again');
    default:
      return trans.__('connecting…');
  }
}

function Waiting({ stream, trans }: IStreamProps): JSX.Element {
  const seconds = useClock(now => Math.max(0, Math.ceil(stream.retryAt - now)));
  return (
    <span>
      {trans.__('reconnecting')}
      {/* Not read aloud each second. */}
      <span aria-hidden="true"> {trans.__('%1 s', seconds)}</span>
    </span>
  );
}

/** How to repair what only the reader can. */
function Advice({ stream, trans }: IStreamProps): JSX.Element | null {
  const [trouble, setTrouble] = React.useState<ITroubleMessage | null>(null);
  React.useEffect(() => {
    const listen = (_: unknown, message: { type: string }): void => {
      if (message.type === 'trouble') {
        setTrouble(message as ITroubleMessage);
      }
    };
    stream.messages.connect(listen);
    return () => void stream.messages.disconnect(listen);
  }, [stream]);
  return (
    <UseSignal signal={stream.statusChanged}>
      {() =>
        stream.status === 'missing' ? (
          <div className="lp-Advice">
            <p>{trans.__('Jupyter Server answers, but its part of Lepton does not.')}</p>
            <p>{trans.__('Install it where the server runs, and restart the server:')}</p>
            <pre>{INSTALL}</pre>
            <p>{trans.__('Installed already? See whether it is enabled:')}</p>
            <pre>{LIST}</pre>
          </div>
        ) : trouble?.message ? (
          <div className="lp-Advice" role="alert">
            <p>{trouble.message}</p>
            {trouble.hint && <p>{trouble.hint}</p>}
          </div>
        ) : null
      }
    </UseSignal>
  );
}
