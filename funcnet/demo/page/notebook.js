// The page in a notebook: questions and answers are messages of the widget, its state a trait.
import { mount } from "./main.js";

export const default_ = {
  render({ model, el }) {
    const channel = {
      send: (question) => model.send(question),
      receive: (answer) =>
        model.on("msg:custom", (_, [data]) => answer(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength))),
      closed: (ended) =>
        model.on("comm_live_update", () => model.comm_live === false && ended("The kernel has ended. Run the cell again.")),
    };
    const address = {
      read: () => model.get("state"),
      write: (text) => {
        model.set("state", text);
        model.save_changes();
      },
      changed: (act) => model.on("change:state", act),
    };
    const root = document.createElement("div");
    el.append(root);
    mount(root, channel, address);
    return () => root.remove();
  },
};
