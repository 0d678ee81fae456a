/**
 * Which jobs a person asked to see, and in which order. Pure; in the browser.
 */
import { groupOf, type JobGroup } from '../jobs';
import type { IJob } from '../protocol';
import { notebook } from '../words';

export interface IJobFilter {
  /** Words that must all occur; empty for all jobs. */
  text: string;
  /** Null for all groups. */
  group: JobGroup | null;
}

export const ALL: IJobFilter = { text: '', group: null };

/** The jobs that a filter lets through, in their order; the list itself when it lets all through. */
export function filtered(jobs: readonly IJob[], { text, group }: IJobFilter): readonly IJob[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length && !group) {
    return jobs;
  }
  return jobs.filter(
    job =>
      (!group || groupOf(job) === group) &&
      (!words.length || words.every(word => texts(job).includes(word)))
  );
}

/** What runs first, then what waits, then the rest; each in its order. */
export function arranged(jobs: readonly IJob[]): IJob[] {
  const running: IJob[] = [];
  const queued: IJob[] = [];
  const rest: IJob[] = [];
  for (const job of jobs) {
    const group = groupOf(job);
    (group === 'running' ? running : group === 'queued' ? queued : rest).push(job);
  }
  return running.concat(queued, rest);
}

function texts(job: IJob): string {
  return [job.name, notebook(job), job.target, job.kernel, job.id, job.cause]
    .join('\n')
    .toLowerCase();
}
