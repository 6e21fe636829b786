// The dashboard's JSON. What it refuses is an Error with the problem's own words.

export const AGAIN_MILLISECONDS = 1000;
const ANSWER_MILLISECONDS = 60_000; // a connection may be dead without a word

let csrf = "";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The dashboard answered ${status}.`);
    this.status = status;
    this.title = problem.title || "";
  }
}

export const inWords = (error) => (error instanceof Refused ? error.message : "The dashboard does not answer.");

export async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  // What begins something may take as long as it likes.
  const signal = method === "GET" ? AbortSignal.timeout(ANSWER_MILLISECONDS) : undefined;
  const answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await answer.text();
  let content = {};
  try {
    content = text ? JSON.parse(text) : {};
  } catch {
    // Something between us and the dashboard has answered.
  }
  if (!answer.ok) throw new Refused(answer.status, content);
  return { status: answer.status, content };
}

// What the page is wrong without: asked again while there is no answer, as long as it is wanted; null when no more.
export async function insist(path, wanted) {
  while (wanted()) {
    try {
      return (await ask("GET", path)).content;
    } catch (error) {
      if (error instanceof Refused && error.status < 500) throw error;
    }
    await new Promise((over) => setTimeout(over, AGAIN_MILLISECONDS));
  }
  return null;
}

export async function signIn(name, password) {
  csrf = (await ask("POST", "/api/session", { name, password })).content.csrf;
}

export async function signedIn() {
  const { content } = await ask("GET", "/api/session");
  csrf = content.csrf;
  return content;
}
