/**
 * Many changes, one rendering: what changed since the last animation frame is told together. In the browser.
 */
export class Coalesced<T> {
  constructor(private readonly tell: (changed: ReadonlySet<T>) => void) {}

  add(...items: readonly T[]): void {
    items.forEach(item => this.changed.add(item));
    if (!this.frame) {
      this.frame = window.requestAnimationFrame(() => this.flush());
    }
  }

  /** Tell now what is pending. */
  flush(): void {
    window.cancelAnimationFrame(this.frame);
    this.frame = 0;
    const changed = this.changed;
    if (changed.size) {
      this.changed = new Set();
      this.tell(changed);
    }
  }

  private changed = new Set<T>();
  private frame = 0;
}
