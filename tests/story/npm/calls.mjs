// The official OpenAI client for JavaScript: every call once, its outcome as one line of JSON.
// Usage: node calls.mjs BASE_URL KEY MODEL PREFIX   (PREFIX!FAULT is a model that fails so)

import OpenAI from "openai";
import { argv, stdout } from "node:process";

const [baseURL, apiKey, model, prefix] = argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello!" }];
const tool = (name, properties) => ({
  type: "function",
  function: {
    name,
    parameters: { type: "object", properties, required: Object.keys(properties) },
  },
});
const tools = [tool("get_weather", { city: { type: "string" } }), tool("get_time", {})];
const schema = {
  type: "object",
  properties: { answer: { type: "string" } },
  required: ["answer"],
  additionalProperties: false,
};
const pixel =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

const create = (fields) => client.chat.completions.create({ model, messages, ...fields });

async function gather(fields) {
  let text = "";
  let usage = null;
  let last = null;
  for await (const chunk of await create({ stream: true, ...fields })) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
    last = chunk;
  }
  return { text, usage, provider: last.x_kairosroute.provider };
}

async function failure(fields) {
  try {
    return { ended: await gather(fields) };
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
}

const calls = {
  chat: async () => {
    const answer = await create({ max_tokens: 50 });
    return { text: answer.choices[0].message.content, usage: answer.usage };
  },
  stream: () => gather({ max_tokens: 50 }),
  streamUsage: () => gather({ max_tokens: 50, stream_options: { include_usage: true } }),
  tools: async () => (await create({ tools })).choices[0].message.tool_calls,
  streamTools: async () => {
    const runner = client.chat.completions.stream({ model, messages, tools });
    return (await runner.finalChatCompletion()).choices[0].message.tool_calls;
  },
  schema: async () => {
    const response_format = { type: "json_schema", json_schema: { name: "a", strict: true, schema } };
    return JSON.parse((await create({ response_format })).choices[0].message.content);
  },
  image: async () => {
    const content = [
      { type: "text", text: "What is this?" },
      { type: "image_url", image_url: { url: pixel } },
    ];
    return (await create({ messages: [{ role: "user", content }] })).choices[0].message.content;
  },
  tooLong: () => failure({ model: `${prefix}!context-length` }),
  down: () => failure({ model: `${prefix}!529` }),
  broken: () => failure({ model: `broken-${model}` }),
  abort: async () => {
    const stream = await create({ model: `${prefix}!stall=3,600`, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) break; // the client aborts the request
    }
    return true;
  },
};

for (const [name, call] of Object.entries(calls)) {
  stdout.write(JSON.stringify({ name, outcome: await call() }) + "\n");
}
