// What the buttons do, by their data-act; keys press them too.

export function acts(page) {
  return {
    play: () => (page.clock.playing ? page.pause() : page.play()),
    step: () => (page.pause(), page.act("run", { steps: 1 })),
    back: () => (page.pause(), page.act("back")),
    restart: () => page.act("restart"),
    reseed: () => page.change({ seed: (page.state.settings.seed + 1) % 2 ** 31 }),
    undo: () => page.editing.undo(),
    clear: () => page.editing.edit([], page.state.points ?? []),
    backward: () => page.questions.backward(),
    check: () => page.questions.check(),
    landscape: () => page.questions.landscape(),
    share: () => share(page),
    theme: () => page.theme(page.root.dataset.theme === "dark" ? "light" : "dark"),
    help: () => page.find(".help").showModal(),
  };
}

async function share(page) {
  const link = location.origin === "null" ? page.state.text : location.href;
  const done = await navigator.clipboard?.writeText(link).then(
    () => true,
    () => false,
  );
  page.say(
    done ? "The link is copied. Whoever runs “funcnet demo” can open it with what follows the #." : `Copy this: ${link}`,
  );
}
