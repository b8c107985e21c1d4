import Diagnostics
import Datasets
import Foundation
import OrderedJSON
import Tensors
import Testing
import Tokenizers

/// Rows of every format compared with TRL's `SFTTrainer`: every id and label must be equal.
@Suite struct RowFormatTests {
  private func preparation(_ options: JSONValue) throws -> Preparation {
    var preparation = PreparationOptions()
    if let limit = options["max_length"] { preparation.maxLength = limit.integer }
    if let mode = options["truncation_mode"]?.string { preparation.truncation = try #require(.init(rawValue: mode)) }
    preparation.completionOnlyLoss = options["completion_only_loss"]?.bool
    preparation.assistantOnlyLoss = options["assistant_only_loss"]?.bool ?? false
    preparation.textField = options["dataset_text_field"]?.string ?? "text"
    if options["packing"]?.bool == true {
      preparation.packing = try #require(PackingStrategy(rawValue: options["packing_strategy"]?.string ?? "bfd"))
    }
    if options["shuffle_dataset"]?.bool == true { preparation.shuffleSeed = UInt64(options["seed"]?.integer ?? 42) }
    let folder = Goldens.folder.appendingPathComponent(options["tokenizer"]?.string ?? "tokenizer")
    let tokenizer = try RowTokenizer(
      try Tokenizer(directory: folder), eosToken: options["eos_token"]?.string,
      marksAssistant: preparation.assistantOnlyLoss)
    return Preparation(tokenizer, options: preparation)
  }

  @Test func matchesTRL() throws {
    for example in try #require(try Goldens.load("forms.json").array) {
      let name = try #require(example["name"]?.string)
      let rows = InMemoryRows(try #require(example["rows"]?.array).compactMap(\.object))
      let targets = try #require(example["num_items"]?.integer)
      let preparation = try preparation(try #require(example["options"]))
      if targets == 0 {
        // TRL would divide by zero; here, a set without trained tokens is an error.
        #expect(throws: SwiftletError.self, "\(name)") { try preparation.prepare(rows) }
        continue
      }
      let (set, report) = try preparation.prepare(rows)
      let ids = set.items.map { $0.flatMap { set.ids[$0].map { Int($0) } } }
      let labels = set.items.map { $0.flatMap { set.labels[$0].map { Int($0) } } }
      #expect(ids == example["input_ids"]?.array?.map { $0.integers ?? [] }, "\(name)")
      #expect(labels == example["labels"]?.array?.map { $0.integers ?? [] }, "\(name)")
      if let lengths = example["seq_lengths"]?.array {
        #expect(set.items.map { $0.map(\.count) } == lengths.map { $0.integers ?? [] }, "\(name)")
      }
      #expect(set.batch(set.items.indices).targetCount == targets, "\(name)")
      #expect(report.trainedTokens == targets, "\(name)")
    }
  }

  /// ChatML without `{% generation %}`: the training template marks each answer and its end of turn, including the
  /// newline.
  @Test func templatesWithoutGenerationBlocks() throws {
    let folder = Goldens.folder.deletingLastPathComponent().appendingPathComponent("models/tokenizer")
    let model = try Tokenizer(directory: folder)
    var options = PreparationOptions()
    options.assistantOnlyLoss = true
    let messages: JSONValue = [
      ["role": "user", "content": "a?"], ["role": "assistant", "content": "b."], ["role": "user", "content": "c?"],
      ["role": "assistant", "content": "d."],
    ]
    let rows = InMemoryRows([Row([("messages", messages)])])
    let marking = try RowTokenizer(model, marksAssistant: true)
    let (set, report) = try Preparation(marking, options: options).prepare(rows)
    #expect(model.decode(set.labels.filter { $0 != TokenBatch.ignoredLabel }) == "b.<|im_end|>\nd.<|im_end|>\n")
    #expect(report.rowsWithTrainedEOS == 1)
    #expect(report.notes.contains { $0.contains("replaced by the training template for ChatML") })
    let unmarked = try Preparation(try RowTokenizer(model)).prepare(rows).set
    #expect(set.ids == unmarked.ids)

    let unknown = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
    #expect(throws: SwiftletError.self) { try RowTokenizer(model, template: unknown, marksAssistant: true) }
    #expect(throws: SwiftletError.self) { try RowTokenizer(model, template: "{% for %}") }
    #expect(throws: SwiftletError.self) { try RowTokenizer(model, eosToken: "<|nothing|>") }
    let refusing = try RowTokenizer(model, template: "{{ raise_exception('No.') }}")
    #expect(throws: SwiftletError.self) { try Preparation(refusing).prepare(rows) }
  }
}
