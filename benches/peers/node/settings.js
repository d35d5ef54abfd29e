// Node-RED as a user has it, without the editor.
module.exports = {
  uiHost: "127.0.0.1",
  uiPort: Number(process.env.HTTP_PORT),
  flowFile: require("path").join(__dirname, "flow.json"),
  httpAdminRoot: false,
  disableEditor: true,
  telemetry: { enabled: false },
  logging: { console: { level: "warn" } },
};
