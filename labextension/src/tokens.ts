/**
 * What the parts of this extension offer one another, and to other extensions. Each token is provided by one plugin of
 * index.ts. In the browser.
 */
import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

import type { JobActions } from './actions';
import type { JobsModel } from './jobs';
import type { Preferences } from './preferences';
import type { Message, Word } from './protocol';
import type { Api } from './request';
import type { TargetsModel } from './targets';

/** The stream of news from the server. */
export interface ILeptonStream {
  /** `live`; `waiting` for the next attempt; `missing`: the server has no such extension; `refused`: log in again. */
  readonly status: 'connecting' | 'live' | 'waiting' | 'missing' | 'refused';
  /** `status` is `live`. */
  readonly connected: boolean;
  /** When the next attempt is due (epoch seconds), while `waiting`. */
  readonly retryAt: number;
  /** A random id of this page, new at each load. */
  readonly client: string;
  readonly statusChanged: ISignal<ILeptonStream, ILeptonStream['status']>;
  /** Every message, after the models have taken it in. */
  readonly messages: ISignal<ILeptonStream, Message>;
  /** Say it to the server now; false when not connected. Say it again when `statusChanged` says `live`. */
  send(word: Word): boolean;
  /** Try to connect at once. */
  retry(): void;
  /** Something of ours is on screen until this is disposed: the server sends more than summaries. */
  show(): IDisposable;
  /** These targets and jobs are on screen until this is disposed: the server sends their live samples. */
  look(at: { targets?: readonly string[]; jobs?: readonly string[] }): IDisposable;
}

/** Everything that a view of ours needs. */
export interface ILepton {
  readonly stream: ILeptonStream;
  readonly api: Api;
  readonly jobs: JobsModel;
  readonly targets: TargetsModel;
}

/** One section of the sidebar. */
export interface ILeptonPanel {
  id: string;
  /** Translated. */
  title: string;
  /** Lower is higher up. Ours: targets 100, jobs 200, models 300. */
  rank: number;
  widget: Widget;
}

/** The sidebar's sections; other extensions may add theirs. */
export interface ILeptonPanels {
  /** Show a section until the result is disposed. Throws when its id is taken. */
  add(panel: ILeptonPanel): IDisposable;
}

export const ILeptonStream = new Token<ILeptonStream>(
  'lepton-jupyter:ILeptonStream',
  'The stream of news about jobs and targets that run elsewhere.'
);

export const ILepton = new Token<ILepton>(
  'lepton-jupyter:ILepton',
  'The jobs and targets of this user, kept up to date.'
);

export const ILeptonPanels = new Token<ILeptonPanels>(
  'lepton-jupyter:ILeptonPanels',
  'The sections of the Lepton sidebar. Add one of your own with `add`.'
);

/** For our own plugins. */
export const ILeptonActions = new Token<JobActions>(
  'lepton-jupyter:ILeptonActions',
  'What a person can do to a job.'
);

/** For our own plugins. */
export const ILeptonPreferences = new Token<Preferences>(
  'lepton-jupyter:ILeptonPreferences',
  'What the user chose in the settings.'
);
