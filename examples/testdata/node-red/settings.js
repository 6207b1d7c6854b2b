// Node-RED as the test runs it: without its editor, on loopback alone, and what
// a person would see in the editor (logs, debug messages, the status below a
// node) as one JSON object a line.
const path = require("path");
const { events } = require(path.join(process.env.NODE_RED, "node_modules/@node-red/util"));

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

events.on("node-status", ({ id, status }) => say({ kind: "status", id, text: status.text || "" }));

module.exports = {
    uiHost: "127.0.0.1",
    uiPort: Number(process.env.NODE_RED_PORT),
    disableEditor: true, // what stays is the API that an inject button calls
    flowFile: "flows.json",
    credentialSecret: "test",
    externalModules: { palette: { allowInstall: false }, modules: { allowInstall: false } },
    telemetry: { enabled: false, updateNotification: false },
    logging: {
        lines: { level: "info", handler: () => (m) => say({ kind: m.type || "log", level: m.level, id: m.id, text: String(m.msg) }) },
    },
};
