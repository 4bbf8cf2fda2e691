// What one asks of the net that is shown: a backward pass in slow motion, the gradient check, the landscape.
import { showCheck, showLandscape } from "./asked.js";
import { SlowMotion } from "./slow.js";

export class Questions {
  constructor(root, page) {
    Object.assign(this, { root, page });
    this.slow = new SlowMotion(root.querySelector(".slow"), (lit) => {
      page.net.lit = lit;
      page.stale = true;
    });
  }

  backward() {
    const { page } = this;
    page.pause();
    if (page.frame.example < 0) return page.say("Add a point first: a backward pass begins at the loss of one.");
    this.slow.start(page.frame, page.state.settings, page.welcome.formulas);
  }

  async check() {
    const answer = await this.answer("check");
    if (answer) showCheck(this.root.querySelector(".check"), { ...answer, step: this.page.frame.step });
  }

  async landscape() {
    const answer = await this.answer("landscape");
    if (answer) showLandscape(this.root.querySelector(".landscape"), this.root, answer);
  }

  async answer(kind) {
    const { page } = this;
    page.pause();
    page.say("");
    this.root.classList.add("busy");
    const answer = await page.talk.ask(kind, {}, page.state.shown);
    this.root.classList.remove("busy");
    return answer.kind === "error" ? page.say(answer.text) : answer;
  }
}
