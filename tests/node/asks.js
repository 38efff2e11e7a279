// What a program in another language does: OpenAI's library for Node asks the proxy, by another base URL alone.
const OpenAI = require("openai").default;

const client = new OpenAI({ baseURL: process.env.PROXY, apiKey: process.env.KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "from Node" }];

async function asked(extra, headers) {
  const { data, response } = await client.chat.completions
    .create({ model: "m", messages, ...extra }, { headers })
    .withResponse();
  return [data.choices.map((choice) => choice.message.content), response.headers.get("x-memollm")];
}

async function streamed(headers) {
  const { data, response } = await client.chat.completions
    .create({ model: "m", messages, stream: true, stream_options: { include_usage: true } }, { headers })
    .withResponse();
  const pieces = [];
  for await (const chunk of data) pieces.push(chunk.choices[0]?.delta?.content ?? "");
  return [pieces.join(""), response.headers.get("x-memollm")];
}

async function main() {
  const a = { "x-memollm-namespace": "a" };
  const b = { "x-memollm-namespace": "b" };
  const found = {
    first: await asked({}, a),
    three: await asked({ n: 3 }, b),
    streamed: await streamed(a),
    again: await streamed({ "x-memollm-namespace": "c" }),
    embedded: (await client.embeddings.create({ model: "e", input: "from Node" })).data.length,
    told: (await client.responses.create({ model: "m", input: "from Node" })).output_text,
  };
  try {
    await asked({ seed: 1 }, { "x-memollm-mode": "offline" });
  } catch (error) {
    found.offline = [error.status, error.message];
  }
  process.stdout.write(JSON.stringify(found));
}

main();
