// The text/event-stream format, fed in pieces of any size.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

export interface StreamEvent {
  type: string;
  data: string;
}

export class EventParser {
  private buffer = "";
  private type = "";
  private data: string[] = [];

  constructor(private readonly onEvent: (event: StreamEvent) => void) {}

  push(piece: string): void {
    this.buffer += piece;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.buffer);
      if (!end) return;
      const line = this.buffer.slice(0, end.index);
      this.buffer = this.buffer.slice(end.index + end[0].length);
      this.line(line);
    }
  }

  private line(line: string): void {
    if (line === "") {
      if (this.data.length > 0) this.onEvent({ type: this.type || "message", data: this.data.join("\n") });
      this.type = "";
      this.data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.type = value;
    else if (field === "data") this.data.push(value);
    // Comments (an empty field), `id` and `retry` mean nothing here: this page reconnects in its own time.
  }
}
