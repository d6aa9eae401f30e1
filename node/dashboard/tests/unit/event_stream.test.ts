import { expect, test } from "vitest";
import { EventParser, type StreamEvent } from "../../web/api/event_stream";

const stream = 'event: realtime\ndata: {"visitors":1}\n\n: heartbeat\n\ndata: a\r\ndata:b\r\n\r\nid: 7\nevent: x\n\ndata\n\n';
const expected: StreamEvent[] = [
  { type: "realtime", data: '{"visitors":1}' },
  { type: "message", data: "a\nb" },
  { type: "message", data: "" },
];

test("events are the same, however the network cuts the stream", () => {
  for (let size = 1; size <= stream.length; size++) {
    const events: StreamEvent[] = [];
    const parser = new EventParser((event) => events.push(event));
    for (let at = 0; at < stream.length; at += size) parser.push(stream.slice(at, at + size));
    expect(events, `pieces of ${size}`).toEqual(expected);
  }
});
