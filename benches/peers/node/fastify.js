// fastify + mqtt.js: answers when the broker has confirmed.   node fastify.js HTTP_PORT BROKER_PORT
const [httpPort, brokerPort] = process.argv.slice(2).map(Number);
const app = require("fastify")({ logger: false });
const client = require("mqtt").connect({ host: "127.0.0.1", port: brokerPort, protocolVersion: 5 });

app.post("/v1/devices/:device/uplinks", async (request, reply) => {
  await client.publishAsync(`devices/${request.params.device}/up`, JSON.stringify(request.body), { qos: 1 });
  reply.code(200);
  return { status: "delivered" };
});

client.once("connect", () => app.listen({ host: "127.0.0.1", port: httpPort }));
