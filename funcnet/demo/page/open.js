// The page of the server: a WebSocket, and the state of the page in its address.
import { mount } from "./main.js";

const token = new URLSearchParams(location.search).get("token") ?? "";
const socket = new WebSocket(`ws://${location.host}/socket?token=${encodeURIComponent(token)}`);
socket.binaryType = "arraybuffer";

const channel = {
  send: (question) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(question)),
  receive: (answer) => socket.addEventListener("message", (event) => answer(event.data)),
  closed: (ended) =>
    socket.addEventListener("close", ({ reason }) =>
      ended(`The server has ended${reason ? `: ${reason}` : ""}. Run “funcnet demo” again and open its address.`),
    ),
};

const address = {
  read: () => location.hash.slice(1),
  write: (text) => history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search),
  changed: (act) => addEventListener("hashchange", act),
};

socket.addEventListener("open", () => mount(document.getElementById("demo"), channel, address));
socket.addEventListener("error", () => {
  document.getElementById("demo").textContent =
    "The server does not answer. Run “funcnet demo” and open the address that it prints.";
});
