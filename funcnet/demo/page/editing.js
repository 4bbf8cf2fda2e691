// Changes of the points: kept for undo and in the address, and sent to all nets.

export class Editing {
  constructor(page) {
    Object.assign(this, { page, wished: null, sending: false });
  }

  edit(points, before) {
    const { page } = this,
      { state } = page;
    if (points.length > page.welcome.most.points) return page.say(`There is room for ${page.welcome.most.points} points.`);
    state.points = before;
    state.edit(points);
    page.address.write(state.text);
    return this.send(points);
  }

  undo() {
    const { state, address } = this.page;
    if (!state.undo()) return;
    address.write(state.text);
    this.send(state.points);
  }

  // While one drags, the newest points go as soon as the last ones are answered.
  async send(points) {
    const { page } = this;
    page.state.replace(points);
    page.stale = true;
    this.wished = points;
    if (this.sending) return;
    this.sending = true;
    while (this.wished) {
      const rows = this.wished;
      this.wished = null;
      const answers = page.state.nets.map((_, n) => page.talk.ask("points", { points: rows, ...page.state.view }, n));
      for (const [n, answer] of answers.entries()) page.arrived(await answer, n);
    }
    this.sending = false;
  }
}
