// An independent server with the OpenAI interface, for one test. Prints its address; ends with its standard input.
import { LLMock } from "@copilotkit/aimock";

const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent" });
mock.onMessage("sky", { content: "Rayleigh scattering.", usage: { prompt_tokens: 11, completion_tokens: 4, total_tokens: 15 } });
mock.onMessage("structured", { content: JSON.stringify({ answer: "yes", confidence: 0.8, sources: [] }) });
mock.onMessage("weather", { toolCalls: [{ name: "weather", arguments: { town: "Rome" } }] });
mock.onMessage("broken", { error: { message: "overloaded", type: "server_error" }, status: 503 });
mock.onMessage("limited", { error: { message: "slow down", type: "rate_limit_error" }, status: 429 });
await mock.start();
console.log(mock.url);
process.stdin.on("end", () => process.exit(0)).resume();
