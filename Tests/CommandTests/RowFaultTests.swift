import Foundation
import Testing

/// Data files that cannot be trained on.
@Suite struct RowFaultTests {
  /// A data file, and the error when training on it.
  private static func rows(_ name: String, _ text: String, file: String = "bad.jsonl", _ mentions: String...) -> Fault {
    bytes(name, Data(text.utf8), file: file, mentions)
  }

  private static func bytes(_ name: String, _ data: Data, file: String = "bad.jsonl", _ mentions: [String]) -> Fault {
    Fault(
      name, status: 1,
      "sft --model_name_or_path m --dataset_name \(file) --use_peft --max_steps 1 --output_dir out --max_length 64",
      mentions: mentions
    ) { try $0.write(file, data) }
  }

  static let faults = [
    rows("cut in half", #"{"text": "a"}\#n{"text": "b"#, "bad.jsonl", "line 2"),
    rows("a second value on the line", #"{"text": "a"} {"text": "b"}"#, "bad.jsonl", "line 1"),
    rows("a list as a row", #"[1, 2]"#, "bad.jsonl", "line 1"),
    rows("a string as a row", #""text""#, "bad.jsonl", "line 1"),
    rows("the prompt is a number", #"{"prompt": 1, "completion": "b"}"#, "bad.jsonl", "line 1", "\"prompt\""),
    rows("the prompt is null", #"{"prompt": null, "completion": "b"}"#, "bad.jsonl", "line 1"),
    rows("the completion is null", #"{"prompt": "a", "completion": null}"#, "bad.jsonl", "line 1", "completion"),
    rows("the completion is a list", #"{"prompt": "a", "completion": []}"#, "bad.jsonl", "line 1", "\"completion\""),
    rows("a prompt without completion", #"{"prompt": "a"}"#, "bad.jsonl", "line 1", "completion"),
    rows("a completion without prompt", #"{"completion": "a"}"#, "bad.jsonl", "line 1", "\"prompt\""),
    rows("the text is a number", #"{"text": 7}"#, "bad.jsonl", "line 1", "\"text\""),
    rows("the text is null", #"{"text": null}"#, "bad.jsonl", "line 1", "\"text\""),
    rows("columns that mean nothing", #"{"foo": "a"}"#, "bad.jsonl", "line 1", "\"foo\"", "rename_columns"),
    rows("the second row lacks its columns", #"{"text": "a"}\#n{"txet": "b"}"#, "bad.jsonl", "line 2", "\"txet\""),
    rows("no messages", #"{"messages": []}"#, "bad.jsonl", "line 1", "\"messages\""),
    rows("messages are a string", #"{"messages": "hi"}"#, "bad.jsonl", "line 1", "\"messages\""),
    rows("a message is null", #"{"messages": [null]}"#, "bad.jsonl", "line 1", "\"messages\""),
    rows("a message without role", #"{"messages": [{"content": "hi"}]}"#, "bad.jsonl", "line 1", "\"role\""),
    rows(
      "a role that is a number", #"{"messages": [{"role": 3, "content": "hi"}]}"#, "bad.jsonl", "line 1", "\"role\""),
    rows("a message without content", #"{"messages": [{"role": "user"}]}"#, "bad.jsonl", "line 1", "content"),
    rows(
      "a content that is null", #"{"messages": [{"role": "user", "content": null}]}"#, "bad.jsonl", "line 1", "content"),
    rows(
      "a content of parts", #"{"messages": [{"role": "user", "content": [{"type": "image"}]}]}"#, "line 1", "template"),
    rows("an empty file", "", "bad.jsonl", "no rows"),
    rows("blank lines only", "\n\n  \n", "bad.jsonl", "no rows"),
    rows("empty texts only", #"{"text": ""}"#, "1 rows"),
    rows("brackets without end", String(repeating: "[", count: 200_000), "bad.jsonl"),
    rows("objects without end", String(repeating: #"{"a":"#, count: 100_000), "bad.jsonl"),
    bytes(
      "not UTF-8", Data(#"{"text": ""#.utf8) + [0xFF, 0xFE] + Data(#""}"#.utf8), ["bad.jsonl", "line 1", "UTF-8"]),
    bytes(
      "no text at all", Data((0..<3000).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 1) }), ["bad.jsonl", "line 1"]),
    rows("a long line that breaks off", #"{"text": ""# + String(repeating: "好", count: 300_000), "bad.jsonl", "line 1"),
    rows("token ids beyond the vocabulary", #"{"input_ids": [1, 2, 99999]}"#, "row 1", "99999"),
    rows("a negative token id", #"{"input_ids": [1, -2, 3]}"#, "row 1", "-2"),
    rows("a label beyond the vocabulary", #"{"input_ids": [1, 2], "labels": [1, 900]}"#, "row 1", "900"),
    rows("a token id that is a string", #"{"input_ids": [1, "a"]}"#, "bad.jsonl", "line 1", "\"input_ids\""),
    rows("token ids that are a number", #"{"input_ids": 4}"#, "bad.jsonl", "line 1", "\"input_ids\""),
    rows("fewer labels than ids", #"{"input_ids": [1, 2, 3], "labels": [1, 2]}"#, "bad.jsonl", "line 1", "\"labels\""),
    rows("no label counts", #"{"input_ids": [1, 2], "labels": [-100, -100]}"#, "1 rows"),
    rows("no token ids", #"{"input_ids": []}"#, "no tokens"),
    rows("a JSON array cut short", #"[{"text": "a"},"#, file: "bad.json", "bad.json", "truncated"),
    rows("an empty JSON array", "[]", file: "bad.json", "bad.json", "no rows"),
    rows("numbers as JSON rows", "[1]", file: "bad.json", "bad.json", "line 1"),
    rows("a JSON object of no known column", #"{"a": 1}"#, file: "bad.json", "bad.json", "\"a\""),
    rows("CSV with an open quotation", "text\n\"abc", file: "bad.csv", "bad.csv", "line 2"),
    rows("CSV with too many fields", "text\na,b,c\n", file: "bad.csv", "bad.csv", "line 2"),
    rows("CSV of a header only", "text\n", file: "bad.csv", "bad.csv", "no rows"),
    rows("empty CSV", "", file: "bad.csv", "bad.csv", "no rows"),
    rows("empty text file", "", file: "bad.txt", "bad.txt", "no rows"),
    rows("a format that nobody knows", "abc", file: "bad.xyz", "bad.xyz", ".jsonl"),
    Fault(
      "Parquet without DuckDB", status: 1,
      "sft --model_name_or_path m --dataset_name bad.parquet --use_peft --output_dir out",
      mentions: ["bad.parquet", "duckdb", "install"], environment: ["PATH": "", "DUCKDB": ""]
    ) { try $0.write("bad.parquet", "PAR1PAR1") },
    Fault(
      "a file that is not there", status: 1, "sft --model_name_or_path m --dataset_name none.jsonl --output_dir out",
      mentions: ["none.jsonl", "no such file"]),
    Fault(
      "no token of the rows fits", status: 1,
      "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir out --max_length 2",
      mentions: ["4 rows", "max_length"]),
    Fault(
      "evaluation without a token to count", status: 1, "eval --model m --data rows.jsonl --max-length 1 --json",
      mentions: ["4 rows", "max_length"]),
    Fault(
      "evaluation of foreign token ids", status: 1, "eval --model m --data bad.jsonl --json",
      mentions: ["row 1", "99999"]
    ) { try $0.write("bad.jsonl", #"{"input_ids": [1, 2, 99999]}"#) },
    Fault("evaluation of no rows", status: 1, "eval --model m --data bad.jsonl", mentions: ["bad.jsonl", "no rows"]) {
      try $0.write("bad.jsonl", "")
    },
    Fault(
      "a preview of broken rows", status: 1, "preview --model_name_or_path m --dataset_name bad.jsonl",
      mentions: ["bad.jsonl", "line 1"]
    ) { try $0.write("bad.jsonl", "{") },
  ]

  @Test(arguments: faults) func isOneSentence(_ fault: Fault) async throws { try await fault.check() }
}
