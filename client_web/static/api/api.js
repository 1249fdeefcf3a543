// The API's own document, shown and tried: everything comes from this server.

const DOCUMENT = "/api/v1/openapi.json";
// What of a live answer is shown before it is let go.
const MAX_LIVE_CHARS = 4000;

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Text with `code` between back ticks.
function words(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

// Blank lines end paragraphs.
function prose(text) {
  return text.split(/\n\s*\n/).map((paragraph) => element("p", {}, ...words(paragraph)));
}

function resolve(schema, schemas) {
  const name = schema.$ref?.split("/").pop();
  return name === undefined ? [schema, ""] : [schemas[name] ?? {}, name];
}

function typeName(schema, schemas) {
  if (schema.$ref) return resolve(schema, schemas)[1];
  if (schema.anyOf) return schema.anyOf.map((each) => typeName(each, schemas)).join(" | ");
  if (schema.type === "array") return `${typeName(schema.items ?? {}, schemas)}[]`;
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.additionalProperties && schema.type === "object") return `{name: ${typeName(schema.additionalProperties, schemas)}}`;
  return schema.type ?? "any";
}

// A schema's fields, with those of what it is made of below.
function fields(schema, schemas, shown = new Set()) {
  const [found, name] = resolve(schema.type === "array" ? schema.items : schema, schemas);
  if (!found.properties || shown.has(name)) return [];
  shown.add(name);
  const list = element("dl", { class: "fields" });
  const inner = [];
  for (const [key, each] of Object.entries(found.properties)) {
    const said = [element("small", {}, typeName(each, schemas)), " ", ...words(each.description ?? "")];
    list.append(element("dt", {}, key), element("dd", {}, ...said));
    for (const part of each.anyOf ?? [each]) inner.push(part);
  }
  const heading = element("p", {}, element("strong", {}, name), ": ", ...words(found.description ?? ""));
  return [heading, list, ...inner.flatMap((part) => (part.type === "null" ? [] : fields(part, schemas, shown)))];
}

function control(parameter) {
  const schema = parameter.schema ?? {};
  const choices = schema.enum;
  if (choices) {
    const select = element("select", { name: parameter.name });
    for (const choice of choices) select.append(element("option", choice === schema.default ? { selected: "" } : {}, choice));
    return select;
  }
  const example = schema.examples?.[0] ?? schema.default ?? "";
  const input = element("input", { name: parameter.name, placeholder: String(example), autocomplete: "off", spellcheck: "false" });
  if (parameter.required) input.setAttribute("required", "");
  return input;
}

async function read(answer) {
  if (!(answer.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
    const text = await answer.text();
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.length < MAX_LIVE_CHARS && !text.includes("data:")) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  await reader.cancel();
  return `${text.slice(0, MAX_LIVE_CHARS)}…`;
}

async function ask(method, base, path, form, output) {
  const query = new URLSearchParams();
  let url = base + path;
  for (const input of form.querySelectorAll("input, select")) {
    const value = input.value.trim();
    if (url.includes(`{${input.name}}`)) url = url.replace(`{${input.name}}`, encodeURIComponent(value));
    else if (value) query.set(input.name, value);
  }
  if (query.size) url += `?${query}`;
  output.hidden = false;
  const body = form.querySelector("textarea");
  const options = body === null ? {} : { method, body: body.value, headers: { "content-type": "application/json" } };
  output.textContent = `${method} ${url} …`;
  try {
    const answer = await fetch(url, options);
    const etag = answer.headers.get("etag");
    output.textContent = `${method} ${url}\n${answer.status} ${answer.statusText}${etag ? `\nETag: ${etag}` : ""}\n\n${await read(answer)}`;
  } catch (error) {
    output.textContent = `${method} ${url}\n${error.message}`;
  }
}

function operation(method, base, path, told, schemas) {
  const id = told.operationId;
  const output = element("pre", { hidden: "", tabindex: "0", "aria-label": `Answer of ${path}` });
  const form = element("form", { "aria-label": path });
  for (const parameter of told.parameters ?? []) {
    form.append(element("label", {}, element("code", {}, parameter.name), control(parameter), element("small", {}, ...words(parameter.description ?? ""))));
  }
  const sent = told.requestBody?.content?.["application/json"]?.schema;
  if (sent) {
    const area = element("textarea", { rows: "5", required: "", spellcheck: "false" });
    form.append(element("label", {}, element("code", {}, "body"), area, element("small", {}, ...words(sent.description ?? ""))));
  }
  form.append(element("button", { type: "submit" }, sent ? "Send" : "Ask"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(method, base, path, form, output);
  });
  const good = Object.keys(told.responses).find((status) => status.startsWith("2"));
  const content = Object.values(told.responses[good]?.content ?? {})[0];
  const answers = Object.entries(told.responses).filter(([status]) => status !== good);
  const detail = element("details", {}, element("summary", {}, "What it answers"));
  detail.append(...fields(content?.schema ?? {}, schemas));
  const others = element("dl", { class: "fields" });
  for (const [status, each] of answers) others.append(element("dt", {}, status), element("dd", {}, ...words(each.description)));
  detail.append(others);
  const heading = element("h3", {}, `${method} `, element("span", { class: "path" }, base + path));
  return element("section", { class: "operation", id }, heading, ...prose(told.description ?? told.summary), form, output, detail);
}

function show(told) {
  const base = told.servers?.[0]?.url ?? "";
  const schemas = told.components?.schemas ?? {};
  byId("about").append(...prose(told.info.description));
  const groups = new Map();
  for (const [path, methods] of Object.entries(told.paths)) {
    for (const [method, each] of Object.entries(methods)) {
      const tag = each.tags?.[0] ?? "";
      groups.set(tag, [...(groups.get(tag) ?? []), [method.toUpperCase(), path, each]]);
    }
  }
  const contents = element("ul");
  for (const [tag, operations] of groups) {
    byId("operations").append(element("h2", {}, tag));
    for (const [method, path, each] of operations) {
      contents.append(element("li", {}, element("a", { href: `#${each.operationId}` }, path)));
      byId("operations").append(operation(method, base, path, each, schemas));
    }
  }
  byId("contents").append(contents);
  byId("main").removeAttribute("aria-busy");
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const answer = await fetch(DOCUMENT);
  if (!answer.ok) throw new Error(`${DOCUMENT} answered ${answer.status}`);
  show(await answer.json());
} catch (error) {
  byId("failure").textContent = `The API's document could not be read: ${error.message}`;
  byId("failure").hidden = false;
  byId("main").removeAttribute("aria-busy");
}
