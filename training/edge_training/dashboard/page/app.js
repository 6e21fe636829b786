// The page: reads the rack once, then hears what changes. After a lost connection it goes on where it was.

import { deviceActions, drawActions } from "./actions.js";
import { AGAIN_MILLISECONDS, ask, insist, inWords, signedIn, signIn } from "./api.js";
import { clock, element } from "./draw.js";
import { said, setJob, setJobs } from "./jobs.js";
import { device, dropDevice, facts, setDevice, setDevices, whenOpened } from "./rack.js";
import { setRelease } from "./release.js";
import { heard, setTraining } from "./training.js";

const SILENCE_SECONDS = 40; // the dashboard speaks every 15

let source = null;
let last = 0;
let spoke = 0;
let operator = false;
let asks = false; // for the training that it had not heard of
let askAgain = false;

const place = (id) => document.getElementById(id);

async function begin() {
  try {
    await signedIn();
  } catch (error) {
    if (error.status === 401) return showSignIn();
    return later(begin);
  }
  return read();
}

async function read() {
  let rack;
  try {
    rack = (await ask("GET", "/api/rack")).content;
  } catch (error) {
    if (error.status === 401) return showSignIn();
    return later(read);
  }
  place("sign-in").hidden = true;
  place("rack-page").hidden = false;
  operator = rack.user.role === "operator";
  place("who").textContent = `${rack.user.name} (${rack.user.role})`;
  if (operator) drawActions();
  else place("actions").replaceChildren();
  setDevices(rack.devices);
  setTraining(rack.training);
  setRelease(rack.release);
  setJobs(rack.jobs, operator);
  watched(rack.watch);
  last = rack.last;
  listen();
  return undefined;
}

function later(what) {
  connection("lost");
  setTimeout(what, AGAIN_MILLISECONDS);
}

const HEARD = {
  device: setDevice,
  gone: (told) => dropDevice(told.device),
  training: heardOfTraining,
  release: setRelease,
  job: setJob,
  output: said,
  watch: watched,
  here: () => {},
};

async function heardOfTraining(told) {
  if (heard(told)) return;
  askAgain = true;
  if (asks) return;
  asks = true;
  try {
    // Events may come faster than answers.
    while (askAgain) {
      askAgain = false;
      setTraining(await insist("/api/training", () => true));
    }
  } catch {
    // Refused: the session is over, which the stream of events hears, too.
  } finally {
    asks = false;
  }
}

function listen() {
  source?.close();
  source = new EventSource(`/api/events?after=${last}`);
  source.onopen = () => {
    spoke = Date.now();
    connection("live");
  };
  source.onerror = () => {
    connection("lost");
    // Refused, and not only cut: the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(begin, AGAIN_MILLISECONDS);
  };
  for (const [kind, then] of Object.entries(HEARD)) {
    source.addEventListener(kind, (event) => {
      spoke = Date.now();
      if (event.lastEventId) last = Number(event.lastEventId);
      then(JSON.parse(event.data));
    });
  }
  source.addEventListener("reset", () => {
    source.close();
    read();
  });
}

// A connection may be dead without a word.
setInterval(() => {
  if (source?.readyState === EventSource.OPEN && Date.now() - spoke > 1000 * SILENCE_SECONDS) {
    connection("lost");
    listen();
  }
}, 5000);

function connection(state) {
  const words = { live: "Live", lost: "Connection lost – trying again" };
  place("live").dataset.state = state;
  place("live").textContent = words[state];
}

function watched(state) {
  place("asked").textContent = state.asked ? `asked ${clock(state.asked)}` : "not asked yet";
  place("fault").textContent = state.fault;
  place("fault").hidden = !state.fault;
}

function showSignIn() {
  source?.close();
  place("rack-page").hidden = true;
  place("sign-in").hidden = false;
  place("name").focus();
  offerProvider();
}

async function offerProvider() {
  try {
    const { provider } = (await ask("GET", "/api/oidc")).content;
    place("provider").textContent = `Sign in with ${provider}`;
    place("provider").hidden = !provider;
  } catch {
    // Name and password will do, or will say what is wrong.
  }
}

place("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  place("refused").textContent = "";
  try {
    await signIn(place("name").value, place("password").value);
  } catch (error) {
    place("refused").textContent = inWords(error);
    return;
  }
  place("password").value = "";
  await read();
});

place("provider").addEventListener("click", async () => {
  place("refused").textContent = "";
  try {
    location.assign((await ask("POST", "/api/oidc")).content.url);
  } catch (error) {
    place("refused").textContent = inWords(error);
  }
});

place("sign-out").addEventListener("click", async () => {
  await ask("DELETE", "/api/session").catch(() => {});
  location.reload();
});

whenOpened((name) => {
  const one = device(name);
  place("device-title").textContent = name;
  place("device-facts").replaceChildren(...facts(one));
  place("device-actions").replaceChildren(...(operator ? deviceActions(name) : [element("span", {})]));
  place("device").showModal();
});

begin();
