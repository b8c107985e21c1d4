import Foundation
import Testing

/// Invalid calls, and invalid files other than weights and rows.
@Suite struct CallFaultTests {
  private static func call(_ line: String, _ mentions: String...) -> Fault {
    Fault(line, status: 2, line, mentions: mentions)
  }

  private static func work(_ line: String, _ mentions: String..., environment: [String: String] = [:]) -> Fault {
    Fault(line, status: 1, line, mentions: mentions, environment: environment)
  }

  private static let generate = "generate --model m --prompt hi --max-new-tokens 2"

  static let calls = [
    call("nosuch", "\"nosuch\""), call("--nosuch", "'--nosuch'"), call("generate --model m", "--prompt"),
    call("generate --prompt hi", "--model"), call("\(generate) --nope", "'--nope'"), call("\(generate) more", "'more'"),
    call("\(generate) --top-p 2", "--top-p"), call("\(generate) --top-p 0", "--top-p"),
    call("\(generate) --top-p nan", "--top-p"), call("\(generate) --temperature hot", "--temperature"),
    call("\(generate) --temperature inf", "--temperature"), call("\(generate) --temperature=-1", "--temperature"),
    call("\(generate) --top-k=-3", "--top-k"), call("\(generate) --min-p 2", "--min-p"),
    call("\(generate) --seed=-3", "--seed"), call("\(generate) --repetition-penalty 0", "--repetition-penalty"),
    call("\(generate) --thinking perhaps", "'perhaps'"),
    call("generate --model m --prompt hi --max-new-tokens 0", "positive"),
    call("generate --model m --prompt hi --max-new-tokens 99999999999999999999", "--max-new-tokens"),
    call("eval --model m", "--data"), call("eval --model m --data rows.jsonl --batch-size 0", "--batch-size"),
    call("eval --model m --data rows.jsonl --max-length=-1", "--max-length"),
    call("eval --model m --data rows.jsonl --logprobs", "--json"),
    call("compare --model m --questions rows.jsonl", "--adapter"),
    call("compare --model m --adapter a --questions rows.jsonl --limit 0", "--limit"),
    call("preview --model_name_or_path m --dataset_name rows.jsonl --rows 0", "--rows"),
    call("preview --model_name_or_path m --dataset_name rows.jsonl --rows=-3", "--rows"),
    call("preview --model_name_or_path m --dataset_name rows.jsonl --rows", "--rows"),
    call("preview --model_name_or_path m --dataset_name rows.jsonl --row 3", "key row;"),
    call("preview --config none.yaml", "none.yaml"), call("tokenize", "<model>"),
    call("tokenize m --decode 1,x", "--decode"), call("tokenize m --decode 99999999999", "--decode"),
    call("tokenize m --decode 1,999", "999"), call("tokenize m --text a --decode 1", "--text"),
    call("render m --messages rows.jsonl --set x", "name=JSON"),
    Fault("--set without quotation marks", status: 2, "render m --messages list.json --set x=abc", mentions: ["x=abc"])
    {
      try $0.write("list.json", "[]")
    },
    call("render m", "--messages"), call("pull", "<name>"), call("pull a/b/c", "a/b/c"), call("pull ../x", "../x"),
    call("inspect", "<model>"), call("inspect m --lora-r 0", "--lora-r"),
    call("inspect m --lora-r 99999999", "--lora-r"),
    call("inspect m --quantization q5", "'q5'"), call("inspect m --lora-target-modules q_proj", "--lora-r"),
    call("merge --model m", "--output"), call("merge --model m --output out --save-method merged_1bit", "merged_16bit"),
    call("export --model m", "--output"), call("export --output a.gguf", "--model"),
    call("export --model m --output a", ".gguf"), call("export --model m --output a.gguf --type q5_0", "q8_0"),
    call("export --model m --base m --output a.gguf", "--base"),
    call("bench --decode 0", "--decode"), call("bench --rows=-1", "--rows"),
    call("bench --row-tokens 1", "--row-tokens"),
    call("chat", "--model"), call("chat --model m --top-p 3", "--top-p"),
  ]

  static let works = [
    work("generate --model nope --prompt hi", "nope", "no such file"),
    work("generate --model ../nope/none --prompt hi", "../nope/none"),
    work("generate --model a/b --prompt hi", "a/b", "HF_HUB_OFFLINE"), work("pull a/b", "a/b", "HF_HUB_OFFLINE"),
    work("pull a/b", "HF_ENDPOINT", environment: ["HF_ENDPOINT": "nonsense", "HF_HUB_OFFLINE": "0"]),
    work("generate --model m --prompt hi --adapter nope", "nope", "adapter_config.json"),
    Fault(
      "an empty prompt", status: 1, words: ["generate", "--model", "m", "--raw", "--prompt", ""], mentions: ["empty"]),
    Fault(
      "a long prompt", status: 1, words: ["generate", "--model", "m", "--prompt", String(repeating: "長", count: 300)],
      mentions: ["tokens", "128"]),
    work("eval --model m --data none.jsonl", "none.jsonl"), work("tokenize nope --text a", "nope"),
    work("tokenize m --file none.txt", "none.txt"), work("render m --messages none.json", "none.json"),
    work("render none.jinja --messages rows.jsonl", "none.jinja"),
    work("inspect m --lora-r 4 --lora-target-modules nope", "q_proj"), work("inspect m --adapter nope", "nope"),
    work("merge --model m --output rows.jsonl", "rows.jsonl"),
    work("export --model none --output a.gguf", "none"), work("export --adapter none --output a.gguf", "none"),
    work("export --model m --output none/a.gguf", "none/a.gguf"),
    work("merge --model m --output /proc/nope/out", "/proc/nope/out"),
    work("chat --model nope", "nope"), work("bench --model nope", "nope"),
  ]

  /// Messages or a template that cannot be rendered.
  private static func render(
    _ name: String, messages: String, template: String = "{{ messages }}", _ mentions: String...
  )
    -> Fault
  {
    Fault("rendering \(name)", status: 1, "render t.jinja --messages list.json", mentions: mentions) {
      try $0.write("list.json", messages)
      try $0.write("t.jinja", template)
    }
  }

  static let renderings = [
    render("messages cut short", messages: "[{", "list.json", "line 1"),
    render("an object without messages", messages: "{\"a\": 1}", "an object"),
    render("a number", messages: "7", "a number"),
    render("a number as a message", messages: "[1]", "message 1"),
    render("a broken template", messages: "[]", template: "{% for x in", "t.jinja", "line 1"),
    render("an unknown filter", messages: "[]", template: "a\n{{ messages | nope }}", "t.jinja", "line 2", "nope"),
    render(
      "an endless loop", messages: "[]", template: "{% for i in range(10**12) %}x{% endfor %}", "t.jinja", "line 1"),
    render(
      "text without end", messages: "[]", template: "{{ 'x' * 10**12 }}", "t.jinja", "line 1"),
    render("a template that raises", messages: "[]", template: "{{ raise_exception('只限中文') }}", "t.jinja", "只限中文"),
    render("a division by zero", messages: "[]", template: "{{ 1 // 0 }}", "t.jinja", "line 1"),
  ]

  @Test(arguments: calls + works + renderings) func isOneSentence(_ fault: Fault) async throws {
    try await fault.check()
  }
}
