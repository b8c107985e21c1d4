import Recipes
import Reports
import TestSupport
import Training
import Foundation
import OrderedJSON
import Testing

/// The keys of TRL 1.16 and 0.23, with their defaults, against ours.
@Suite struct RecipeKeyTests {
  /// If PEFT's or bitsandbytes' own default differs from TRL's for the same setting, TRL's applies. Which layers are
  /// checkpointed depends on the available memory.
  static let overruled = [
    "r", "lora_alpha", "lora_dropout", "bnb_4bit_quant_type", "output_dir", "gradient_checkpointing",
  ]

  static func theirs(_ file: String) throws -> [(name: String, value: JSONValue)] {
    try golden(file).object?.members.flatMap { $0.value.object?.members ?? [] }.map { ($0.key, $0.value) } ?? []
  }

  /// transformers' own defaults, where TRL's apply to `classify` too.
  static let transformersOwn = ["logging_steps", "bf16"]

  @Test func namesAreUnique() {
    let names = RecipeKey.all.map(\.name) + RecipeSpelling.all.map(\.name)
    #expect(Set(names).count == names.count)
    for method in TrainingMethod.Name.allCases {
      let names = RecipeKey.all(for: method).map(\.name)
      #expect(Set(names).count == names.count, "\(method)")
    }
    let known = Set(TrainingMethod.Name.allCases.flatMap { RecipeKey.all(for: $0) }.map(\.name))
    #expect(RecipeSpelling.all.filter { !known.contains($0.key) }.map(\.key) == [])
  }

  @Test(arguments: ["recipe/keys.json", "recipe/keys_old.json"])
  func everyReferenceKeyIsKnown(file: String) throws {
    let names = try Self.theirs(file).map(\.name)
    #expect(names.count > 200)
    let known = Set(RecipeKey.all.map(\.name) + RecipeSpelling.all.map(\.name))
    #expect(names.filter { !known.contains($0) && !$0.hasPrefix("_") } == [])
  }

  @Test func defaultsEqualTheReferences() throws {
    let ours = Dictionary(uniqueKeysWithValues: RecipeKey.all.map { ($0.name, $0) })
    var compared = 0
    for (name, value) in try Self.theirs("recipe/keys.json") where !Self.overruled.contains(name) {
      guard let key = ours[name], key.status == .honored else { continue }
      compared += 1
      // The reference's default is null if the type is an optional list or mapping.
      let isEmpty = value.isNull && (key.defaultValue == [] || key.defaultValue == [:] || key.defaultValue == "")
      let isOff = value.isNull && key.defaultValue == false
      #expect(key.defaultValue == value || isEmpty || isOff, "\(name)")
    }
    #expect(compared > 70)
  }

  @Test(arguments: ["recipe/keys.json", "recipe/keys_old.json"])
  func referenceDefaultsAreAccepted(file: String) throws {
    for (name, value) in try Self.theirs(file) where !name.hasPrefix("_") && !value.isNull {
      if RecipeSpelling.all.contains(where: { $0.name == name && $0.kind == .foreign }) { continue }
      let text = "\(name): \(value.text())\n" + (name == "use_peft" ? "" : "use_peft: true\n")
      #expect(throws: Never.self, "\(text)") { try Recipe(yaml: text) }
    }
  }

  /// The keys of the configurations of TRL's other trainers, with their defaults.
  @Test(arguments: TrainingMethod.Name.allCases.filter { $0 != .sft })
  func methodsHaveTheirKeys(_ method: TrainingMethod.Name) throws {
    let theirs = try #require(golden("recipe/method_keys.json")[method.rawValue]?.object).members
    let ours = Dictionary(uniqueKeysWithValues: RecipeKey.all(for: method).map { ($0.name, $0) })
    let known = Set(Array(ours.keys) + RecipeSpelling.all.map(\.name))
    #expect(theirs.count > 100)
    #expect(theirs.map(\.key).filter { !known.contains($0) && !$0.hasPrefix("_") } == [])
    let overruled = Self.overruled + (method == .classify ? Self.transformersOwn : [])
    for (name, value) in theirs where !overruled.contains(name) && !name.hasPrefix("_") {
      if let key = ours[name], key.status == .honored {
        let isEmpty = value.isNull && (key.defaultValue == [] || key.defaultValue == [:] || key.defaultValue == "")
        #expect(
          key.defaultValue(for: method) == value || isEmpty || value.isNull && key.defaultValue == false, "\(name)")
      }
      if value.isNull || RecipeSpelling.all.contains(where: { $0.name == name && $0.kind == .foreign }) { continue }
      #expect(throws: Never.self, "\(name)") { try Recipe(yaml: "\(name): \(value.text())", method: method) }
    }
  }

  @Test func keysOfOtherMethodsAreErrors() {
    func message(_ yaml: String, _ method: TrainingMethod.Name?) -> String {
      do {
        _ = try Recipe(yaml: yaml, method: method)
        return ""
      } catch {
        return "\(error)"
      }
    }
    #expect(message("loss_weights: [1]", .sft).contains("loss_weights is a key of dpo"))
    #expect(message("packing: true", .dpo).contains("packing is a key of sft"))
    #expect(message("method: dpo", .sft).contains("swiftlet dpo"))
    #expect(message("method: dpq", nil).contains("sft"))
    #expect(message("method: dpo\nbeta: 0.2", nil).isEmpty)
    #expect(message("loss_type: [sigmoid, hinge]\nloss_weights: [1]", .dpo).contains("loss_weights has 1 weights"))
    #expect(message("truncation_mode: keep_end", .reward).contains("leave out truncation_mode"))
    #expect(message("problem_type: regression", .classify).contains("not supported"))
    #expect(message("problem_type: single_label_classification\nnum_labels: 3", .classify).isEmpty)
    #expect(message("id2label: {0: a, 1: b}\nnum_labels: 3", .classify).contains("id2label has 2 names"))
    #expect(message("lora_task_type: SEQ_CLS\nuse_peft: true", .sft).contains("only causal"))
    #expect(message("sync_ref_model: true\nuse_peft: true", .dpo).contains("sync_ref_model needs"))
    #expect(message("per_device_train_batch_size: 1", .kto).contains("per_device_train_batch_size of at least 2"))
    #expect(message("train_sampling_strategy: random", .kto).contains("train_sampling_strategy sequential"))
    #expect(message("num_generations: 3", .grpo).contains("multiple of num_generations 3"))
    #expect(message("generation_batch_size: 12", .grpo).contains("multiple of per_device_train_batch_size 8"))
    #expect(message("steps_per_generation: 2\ngeneration_batch_size: 16", .grpo).contains("leave one out"))
    #expect(message("reward_funcs: [a, b]\nreward_weights: [1]", .grpo).contains("reward_weights has 1 weights for 2"))
    #expect(message("auto_find_batch_size: true", .grpo).contains("auto_find_batch_size cannot"))
    #expect(message("loss_type: cispo", .grpo).contains("dapo"))
    #expect(message("eval_strategy: epoch\nper_device_eval_batch_size: 6", .grpo).contains("num_generations_eval 8"))
    #expect(message("loss_type: exo_pair", .dpo).contains("label_smoothing above 0"))
    #expect(message("loss_type: aot\nuse_weighting: true", .dpo).contains("use_weighting cannot"))
    #expect(
      message("loss_type: apo_zero\nf_divergence_type: forward_kl", .dpo).contains("f_divergence_type forward_kl"))
  }

  @Test func committedPageIsTheTable() throws {
    let page = repository.appendingPathComponent("Documentation/RecipeKeys.md")
    if ProcessInfo.processInfo.environment["WRITE_RECIPE_KEYS"] != nil {
      try RecipeKey.documentationPage.write(to: page, atomically: true, encoding: .utf8)
    }
    let committed = try String(contentsOf: page, encoding: .utf8)
    #expect(
      committed == RecipeKey.documentationPage, "write it with WRITE_RECIPE_KEYS=1 swift test --filter committedPage")
  }
}
