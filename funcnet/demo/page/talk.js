// Questions to the server: their answers come in the same order.
import { decoded } from "./answers.js";

export class Talk {
  constructor(channel) {
    this.channel = channel;
    this.waiting = [];
    channel.receive((buffer) => this.waiting.shift()?.(decoded(buffer)));
  }

  get outstanding() {
    return this.waiting.length;
  }

  ask(kind, fields = {}, net = 0) {
    return new Promise((resolve) => {
      this.waiting.push((answer) => resolve(Object.assign(answer, { asked: kind })));
      this.channel.send({ kind, net, ...fields });
    });
  }
}
