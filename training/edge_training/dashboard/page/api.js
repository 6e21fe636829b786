// The dashboard's JSON. What it refuses is an Error with the problem's own words.

let csrf = "";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The dashboard answered ${status}.`);
    this.status = status;
    this.title = problem.title || "";
  }
}

export async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
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

export async function signIn(name, password) {
  csrf = (await ask("POST", "/api/session", { name, password })).content.csrf;
}

export async function signedIn() {
  const { content } = await ask("GET", "/api/session");
  csrf = content.csrf;
  return content;
}
