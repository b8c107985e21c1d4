import ChatTemplates
import Datasets
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Recipes
import Training

/// The settings of the page's form for a new run, as a recipe.
struct RunSettings {
  /// What the rows are, and so which columns are mapped to what.
  private enum Form: String, CaseIterable {
    /// A prompt and its completion, as messages of a conversation.
    case chat
    /// Whole conversations.
    case messages
    /// Plain text.
    case text
    /// A prompt with a chosen and a rejected completion, as messages.
    case preference
    /// A prompt and a completion that is good or not, as messages.
    case rated
    /// A text and its label.
    case labeled
    /// A prompt with the solution that a reward compares completions with.
    case solved
    /// A prompt alone.
    case prompts

    var columns: [String] {
      switch self {
      case .chat: ["prompt", "completion"]
      case .messages: ["messages"]
      case .text: ["text"]
      case .preference: ["prompt", "chosen", "rejected"]
      case .rated: ["prompt", "completion", "label"]
      case .labeled: ["text", "label"]
      case .solved: ["prompt", "solution"]
      case .prompts: ["prompt"]
      }
    }

    /// The forms of a method's rows.
    static func forms(of method: TrainingMethod.Name) -> [Form] {
      switch method {
      case .sft: [.chat, .messages, .text]
      case .kto: [.rated]
      case .classify: [.labeled]
      case .grpo: [.solved, .prompts]
      case .dpo, .orpo, .cpo, .reward: [.preference]
      }
    }
  }

  let name: String
  let method: TrainingMethod.Name
  /// The keys in the order in which the recipe has them.
  private(set) var keys: [(key: String, value: JSONValue)] = []

  /// - Parameter root: the watched folder, whose data files, models and programs may be named, and models as `org/name`.
  /// - Throws: `APIError` naming the setting at fault.
  init(_ json: JSONValue, in root: URL) throws {
    let reader = RequestReader(json: json)
    name = try reader.string("name") ?? ""
    guard Self.isName(name) else {
      throw APIError.invalidRequest(
        "The name of a run must have letters, digits, '-', '_' and '.' only.", parameter: "name")
    }
    guard let method = TrainingMethod.Name(rawValue: try reader.string("method") ?? "sft") else {
      throw APIError.invalidRequest("There is no such method.", parameter: "method")
    }
    self.method = method
    guard let model = try reader.string("model"),
      ModelList(root).names.contains(model) || BaseModelReference.isHubName(model)
    else {
      throw APIError.invalidRequest("Choose a model of the list, or type org/name.", parameter: "model")
    }
    guard let file = try reader.string("data"), DataList(root).names.contains(file) else {
      throw APIError.invalidRequest("Choose a data file of the list.", parameter: "data")
    }
    if method != .sft { keys.append(("method", .string(method.rawValue))) }
    keys += [("model_name_or_path", .string(model)), ("dataset_name", .string(file))]
    let forms = Form.forms(of: method)
    guard let form = try reader.string("form").map(Form.init(rawValue:)) ?? forms.first, forms.contains(form) else {
      throw APIError.invalidRequest("Rows of this form don't go with \(method.rawValue).", parameter: "form")
    }
    let program = method == .grpo ? try reader.string("program") : nil
    try addSteps(form, reader, keepsOthers: program != nil)
    if method == .grpo { try addRewards(form, reader, program: program, in: root) }
    try addTraining(form, reader)
    keys.append(("output_dir", .string(name)))
  }

  static func isName(_ name: String) -> Bool {
    (1...100).contains(name.utf8.count) && !name.hasPrefix(".") && !name.hasPrefix("-")
      && !name.hasPrefix("checkpoint-")
      && name.utf8.allSatisfy {
        UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0
          || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || "-_.".utf8.contains($0)
      }
  }

  /// Maps the columns of the file, and makes messages of prompts and completions, so that the model's chat template
  /// applies.
  /// - Parameter keepsOthers: whether rows keep the columns that are not mapped.
  private mutating func addSteps(_ form: Form, _ reader: RequestReader, keepsOthers: Bool) throws {
    let mapping = try reader.object("columns")
    var steps: [JSONValue] = []
    let renamings = try form.columns.map { column in
      (old: try mapping?.string(column) ?? column, new: column)
    }
    guard Set(renamings.map(\.old)).count == renamings.count else {
      throw APIError.invalidRequest("Two columns are mapped to the same one.", parameter: "columns")
    }
    if renamings.contains(where: { $0.old != $0.new }) {
      if !keepsOthers { steps.append(["select_columns": .array(renamings.map { .string($0.old) })]) }
      // In one step, columns may also change places.
      steps.append([
        "rename_columns": .object(
          JSONObject(renamings.filter { $0.old != $0.new }.map { ($0.old, .string($0.new)) }))
      ])
    }
    func message(_ role: String, _ content: String) -> JSONValue {
      ["role": .string(role), "content": .string(content)]
    }
    func step(_ column: String, _ messages: [JSONValue]) -> JSONValue {
      ["messages": ["to": .string(column), "messages": .array(messages)]]
    }
    if [.chat, .preference, .rated, .solved, .prompts].contains(form) {
      var prompt: [JSONValue] = []
      if let system = try reader.string("system"), !system.isEmpty {
        let text = system.replacing("{", with: "{{").replacing("}", with: "}}")
        prompt.append(message("system", text))
      }
      steps.append(step("prompt", prompt + [message("user", "{prompt}")]))
      for column in form.columns where ["completion", "chosen", "rejected"].contains(column) {
        steps.append(step(column, [message("assistant", "{\(column)}")]))
      }
    }
    if !steps.isEmpty { keys.append(("steps", .array(steps))) }
    if form == .messages, try reader.bool("assistant_only") ?? true { keys.append(("assistant_only_loss", true)) }
  }

  /// The rewards of completions, and how these are sampled.
  private mutating func addRewards(_ form: Form, _ reader: RequestReader, program: String?, in root: URL) throws {
    var rewards: [String] = []
    for value in try reader.array("rewards") ?? [] {
      guard let reward = value.string.flatMap(BuiltInReward.init(rawValue:)) else {
        throw APIError.invalidRequest(
          "There is no built-in reward \(value.text().quotedExcerpt).", parameter: "rewards")
      }
      if reward == .accuracy, form != .solved {
        throw APIError.invalidRequest(
          "\(reward.rawValue) compares completions with solutions; choose rows with prompts and solutions.",
          parameter: "rewards")
      }
      rewards.append(reward.rawValue)
    }
    if let program {
      guard ProgramList(root).names.contains(program) else {
        throw APIError.invalidRequest("Choose a program of the list.", parameter: "program")
      }
      rewards.append("./" + program)
    }
    guard !rewards.isEmpty else {
      throw APIError.invalidRequest("Choose a reward, or a program that computes one.", parameter: "rewards")
    }
    guard Set(rewards).count == rewards.count else {
      throw APIError.invalidRequest("A reward is there twice.", parameter: "rewards")
    }
    let generations = try reader.integer("generations", in: 2...4096) ?? 8
    keys += [
      ("reward_funcs", .array(rewards.map { .string($0) })), ("num_generations", .integer(generations)),
      ("max_completion_length", .integer(try reader.integer("completion_length", in: 1...1_000_000) ?? 256)),
      // It counts completions, so it must hold whole groups.
      ("per_device_eval_batch_size", .integer(generations)),
    ]
  }

  private mutating func addTraining(_ form: Form, _ reader: RequestReader) throws {
    if try reader.bool("all_weights") != true {
      let rank = try reader.integer("rank", in: 1...1024) ?? 16
      keys += [
        ("use_peft", true), ("lora_r", .integer(rank)), ("lora_alpha", .integer(2 * rank)), ("lora_dropout", 0.0),
        ("lora_target_modules", "all-linear"),
      ]
    }
    if try reader.bool("four_bit") == true { keys.append(("load_in_4bit", true)) }
    func add(_ key: String, integer name: String, in range: ClosedRange<Int>) throws {
      if let value = try reader.integer(name, in: range) { keys.append((key, .integer(value))) }
    }
    keys.append(("learning_rate", .number(try reader.double("learning_rate", in: 1e-12...10) ?? 2e-4)))
    if let steps = try reader.integer("max_steps", in: 1...10_000_000) {
      keys.append(("max_steps", .integer(steps)))
    } else {
      keys.append(("num_train_epochs", .number(try reader.double("epochs", in: 0.0001...10_000) ?? 1)))
    }
    try add("per_device_train_batch_size", integer: "batch_size", in: 1...4096)
    try add("gradient_accumulation_steps", integer: "accumulation", in: 1...4096)
    try add("max_length", integer: "max_length", in: 8...1_000_000)
    try add("seed", integer: "seed", in: 0...Int(Int32.max))
    keys.append(("logging_steps", 1))
    if let percent = try reader.integer("validation_percent", in: 0...90), percent > 0 {
      keys += [("test_split_size", .number(Double(percent) / 100)), ("eval_strategy", "epoch")]
    }
    let questions = try reader.array("questions") ?? []
    let texts = questions.compactMap(\.string).filter { !$0.isEmpty }
    if !texts.isEmpty, !["reward", "classify"].contains(method.rawValue) {
      guard texts.count <= 50 else {
        throw APIError.invalidRequest("There can be 50 questions at most.", parameter: "questions")
      }
      let system = try reader.string("system").flatMap { $0.isEmpty || form == .text ? nil : $0 }
      keys.append(
        (
          "questions",
          .array(
            texts.map { text in
              system.map { ["text": .string(text), "system": .string($0)] } ?? .string(text)
            })
        ))
    }
  }

  /// The recipe as a YAML file. JSON is YAML, so texts need no other form of quotation.
  var yaml: String {
    keys.map { key, value in
      if key == "steps" || key == "questions", let elements = value.array {
        return "\(key):\n" + elements.map { "  - \($0.text())\n" }.joined()
      }
      return "\(key): \(value.text())\n"
    }.joined()
  }

  /// The recipe, checked.
  /// - Throws: `SwiftletError` naming the key at fault.
  func recipe() throws(SwiftletError) -> Recipe { try Recipe(yaml: yaml, file: nil, method: method) }
}
