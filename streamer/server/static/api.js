// Shows what /openapi.json says, without anything from elsewhere.

import { request } from "/static/access.js";

const METHODS = ["get", "post", "patch", "put", "delete"];

const $ = (id) => document.getElementById(id);

function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const follow = (schema, described) =>
  schema?.$ref ? described.components.schemas[schema.$ref.split("/").pop()] : (schema ?? {});

function typeOf(schema, described) {
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, described)).join(" or ");
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {}, described)}`;
  return schema.type === "null" ? "nothing" : (schema.type ?? "anything");
}

function table(title, rows) {
  const part = make("section");
  part.append(make("h3", title));
  const body = make("table");
  for (const cells of rows) {
    const row = make("tr");
    row.append(...cells.map((cell) => make("td", cell)));
    body.append(row);
  }
  part.append(body);
  return part;
}

function fields(schema, described) {
  const needed = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, field]) => [
    name,
    typeOf(field, described) + (needed.has(name) ? ", needed" : ""),
    [
      field.description ?? "",
      field.default == null ? "" : `usually ${JSON.stringify(field.default)}`,
      field.examples ? `such as ${JSON.stringify(field.examples[0])}` : "",
    ].filter(Boolean).join("; "),
  ]);
}

function example(method, path, { sent, kind }) {
  const lines = [`curl -X ${method.toUpperCase()} -H 'Authorization: Bearer TOKEN'`];
  if (sent) {
    const given = Object.entries(sent.properties ?? {})
      .filter(([name, field]) => field.examples || (sent.required ?? []).includes(name))
      .map(([name, field]) => [name, field.examples?.[0] ?? field.default ?? "…"]);
    const body = JSON.stringify(Object.fromEntries(given));
    lines.push(`-H 'Content-Type: application/json' -d '${body}'`);
  } else if (kind) lines.push(`-H 'Content-Type: ${kind}' --data-binary @FILE`);
  return [...lines, `${location.origin}${path}`].join(" \\\n  ");
}

function card(method, path, operation, described) {
  const details = make("details", "", { class: "operation" });
  const summary = make("summary");
  const says = operation.description ?? operation.summary ?? "";
  summary.append(
    make("span", method.toUpperCase(), { class: "method", "data-method": method }),
    make("span", path, { class: "path" }),
    make("span", says.split("\n")[0], { class: "what" }),
  );
  const body = make("div", "", { class: "body" });
  const rest = says.split("\n").slice(1).join(" ").trim();
  if (rest) body.append(make("p", rest));
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    body.append(table("In the address", parameters.map((one) =>
      [one.name, one.in, one.description ?? ""])));
  }
  const [kind, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const sent = kind === "application/json" ? follow(content.schema, described) : null;
  if (sent) body.append(table("In the body", fields(sent, described)));
  else if (kind) body.append(table("In the body", [[kind, content.schema.description ?? ""]]));
  body.append(table("Answers", Object.entries(operation.responses ?? {}).map(([status, one]) =>
    [status, one.description ?? ""])));
  body.append(make("pre", example(method, path, { sent, kind })));
  details.append(summary, body);
  return details;
}

function show(described) {
  $("lead").textContent = "Every call takes the server's token, where it has one, as a bearer token.";
  const parts = new Map();
  for (const [path, operations] of Object.entries(described.paths)) {
    for (const method of METHODS.filter((one) => operations[one])) {
      const tag = operations[method].tags?.[0] ?? "others";
      if (!parts.has(tag)) parts.set(tag, [make("h2", tag)]);
      parts.get(tag).push(card(method, path, operations[method], described));
    }
  }
  $("operations").replaceChildren(...[...parts.values()].flat());
}

// The link would carry no token.
$("schema").addEventListener("click", async (event) => {
  event.preventDefault();
  const text = await (await request("/openapi.json")).text();
  location.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
});

try {
  const response = await request("/openapi.json");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  show(await response.json());
} catch (error) {
  $("lead").textContent = `The description cannot be read: ${error.message}.`;
}
