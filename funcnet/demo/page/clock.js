// The loop: as many steps as the speed asks for, never more questions on their way than two for each net, and drawing once a frame.

const TOGETHER = 100,
  TENTH = 0.1;

export class Clock {
  constructor(page) {
    Object.assign(this, { page, playing: false, owed: 0, last: 0 });
    requestAnimationFrame((now) => this.tick(now));
  }

  start() {
    this.playing = true;
    this.owed = 0;
  }

  stop() {
    this.playing = false;
  }

  tick(now) {
    const { page } = this,
      seconds = Math.min((now - this.last) / 1000, TENTH);
    this.last = now;
    if (this.playing) this.run(seconds, Number(page.find("[name=speed]").value));
    if (page.stale && page.frame) {
      page.stale = false;
      page.painter.draw();
    }
    if (page.root.isConnected) requestAnimationFrame((later) => this.tick(later));
  }

  // A speed of 0 is as fast as it goes. What a slow machine cannot make is not made up for.
  run(seconds, speed) {
    const { page } = this;
    this.owed = Math.min(this.owed + seconds * speed, Math.max(speed * TENTH, 1));
    if (page.talk.outstanding >= 2 * page.state.nets.length) return;
    const steps = speed ? Math.floor(this.owed) : TOGETHER;
    if (!steps) return;
    this.owed -= speed ? steps : 0;
    page.act("run", { steps });
  }
}
