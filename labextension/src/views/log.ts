/**
 * A job's log, fetched bit by bit: what is there stays, and only what is new is asked for. In the browser.
 */
import type { Api } from '../request';

export class Log {
  constructor(
    private readonly api: Api,
    private readonly job: string
  ) {}

  /** All of it as it is now. */
  async load(): Promise<string> {
    const part = await this.api.logs(this.job, this.bytes, this.digest);
    if (part.after !== this.bytes) {
      this.text = ''; // it begins anew
    }
    const cut = Math.max(0, part.settled - part.after);
    this.text += utf8(part.data.subarray(0, cut));
    this.bytes = part.settled;
    this.digest = part.digest;
    return this.text + utf8(part.data.subarray(cut));
  }

  /** The lines that are complete, their size and their digest by the server's word. */
  private text = '';
  private bytes = 0;
  private digest = '';
}

function utf8(data: Uint8Array): string {
  return new TextDecoder().decode(data);
}
