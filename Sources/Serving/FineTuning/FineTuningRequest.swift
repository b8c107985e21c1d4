import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// A request to `/v1/fine_tuning/jobs`, as a recipe.
struct FineTuningRequest {
  var trainingFile: String
  var validationFile: String?
  var suffix: String?
  var seed: Int
  /// "supervised" or "dpo".
  var method: String
  /// What OpenAI calls them, with the numbers that "auto" stands for.
  var epochs: Int
  var batchSize: Int
  var rateMultiplier: Double
  var beta: Double?

  /// The learning rates that a multiplier of 1 stands for: those that adapters usually train with.
  static let baseRates = ["supervised": 2e-4, "dpo": 5e-6]

  /// - Parameter rowCount: the number of rows of a file.
  /// - Throws: `APIError` naming the member at fault.
  init(_ json: JSONValue, rowCount: (_ file: String) throws -> Int) throws {
    let reader = RequestReader(json: json)
    guard let file = try reader.string("training_file") else {
      throw APIError.invalidRequest("\"training_file\" is missing.", parameter: "training_file")
    }
    trainingFile = file
    validationFile = try reader.string("validation_file")
    suffix = try reader.string("suffix")
    if let suffix, suffix.isEmpty || suffix.utf8.count > 64 || !RunSettings.isName(suffix) {
      throw APIError.invalidRequest(
        "\"suffix\" must have up to 64 letters, digits, '-', '_' and '.' only.", parameter: "suffix")
    }
    seed = try reader.integer("seed", in: 0...Int(Int32.max)) ?? 42
    if let integrations = try reader.array("integrations"), !integrations.isEmpty {
      throw APIError.invalidRequest("Integrations are not supported.", parameter: "integrations")
    }
    let given = try reader.object("method")
    method = try given?.string("type") ?? "supervised"
    guard Self.baseRates[method] != nil else {
      throw APIError.invalidRequest("\"method.type\" must be supervised or dpo.", parameter: "method")
    }
    let parameters =
      try given?.object(method)?.object("hyperparameters") ?? reader.object("hyperparameters")
      ?? RequestReader(json: [:])
    func isAutomatic(_ name: String) -> Bool { parameters.json[name]?.string == "auto" }
    epochs = isAutomatic("n_epochs") ? 3 : try parameters.integer("n_epochs", in: 1...50) ?? 3
    // As OpenAI's, about 0.2% of the rows, but no more than a CPU gains from.
    let automatic = min(8, max(1, try rowCount(trainingFile) / 500))
    batchSize =
      isAutomatic("batch_size") ? automatic : try parameters.integer("batch_size", in: 1...256) ?? automatic
    let multiplier =
      isAutomatic("learning_rate_multiplier")
      ? nil : parameters.json["learning_rate_multiplier"].flatMap { $0.isNull ? nil : $0 }
    guard let number = multiplier.map(\.double) ?? .some(1), number > 0, number <= 1000 else {
      throw APIError.invalidRequest(
        "\"learning_rate_multiplier\" must be a number above 0 and at most 1000.",
        parameter: "hyperparameters.learning_rate_multiplier")
    }
    rateMultiplier = number
    if method == "dpo", !isAutomatic("beta") { beta = try parameters.number("beta", in: 0.001...10).map(Double.init) }
  }

  /// The recipe of the job.
  /// - Parameters:
  ///   - model: the base model.
  ///   - output: the folder of the job.
  func recipe(model: ModelSource, training: String, validation: String?, output: String) -> String {
    var keys: [(String, JSONValue)] = []
    if method == "dpo" { keys.append(("method", "dpo")) }
    keys += [
      ("model_name_or_path", .string(model.url.path)), ("dataset_name", .string(training)), ("use_peft", true),
      ("lora_r", 16), ("lora_alpha", 32), ("lora_dropout", 0.0), ("lora_target_modules", "all-linear"),
      ("learning_rate", .number(rateMultiplier * (Self.baseRates[method] ?? 2e-4))),
      ("num_train_epochs", .integer(epochs)), ("per_device_train_batch_size", .integer(batchSize)),
      ("seed", .integer(seed)), ("logging_steps", 1), ("save_strategy", "epoch"),
    ]
    if let format = model.quantization?.format {
      keys += [
        ("load_in_4bit", true), ("bnb_4bit_quant_type", .string(format.type == .fp4 ? "fp4" : "nf4")),
        ("bnb_4bit_use_double_quant", .bool(format.doubleQuantized)),
      ]
    }
    if method == "supervised" { keys.append(("assistant_only_loss", true)) }
    if let beta { keys.append(("beta", .number(beta))) }
    if let validation { keys += [("eval_dataset", .string(validation)), ("eval_strategy", "epoch")] }
    keys.append(("output_dir", .string(output)))
    return keys.map { "\($0): \($1.text())\n" }.joined()
  }

  var hyperparameters: JSONValue {
    var object = JSONObject([
      ("n_epochs", .integer(epochs)), ("batch_size", .integer(batchSize)),
      ("learning_rate_multiplier", .number(rateMultiplier)),
    ])
    object["beta"] = beta.map { .number($0) }
    return .object(object)
  }
}

/// The rows of fine-tuning files in OpenAI's forms, as Swiftlet's.
enum FineTuningRows {
  /// Checks and converts the lines of a file: conversations stay as they are; pairs get `prompt`, `chosen` and
  /// `rejected`.
  /// - Throws: `APIError` naming the line at fault.
  static func converted(_ bytes: [UInt8], method: String, parameter: String) throws -> [JSONObject] {
    var rows: [JSONObject] = []
    for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
      if line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
      func fail(_ reason: String) -> APIError {
        APIError(
          status: 400, type: "invalid_request_error", message: "Line \(index + 1) of the file \(reason).",
          parameter: parameter, code: "invalid_file")
      }
      guard let row = try? JSONValue(parsing: line) else { throw fail("is not valid JSON") }
      rows.append(try method == "dpo" ? pair(row, fail) : conversation(row, fail))
    }
    if rows.isEmpty {
      throw APIError(
        status: 400, type: "invalid_request_error", message: "The file has no rows.", parameter: parameter,
        code: "invalid_file")
    }
    return rows
  }

  private static func conversation(_ row: JSONValue, _ fail: (String) -> APIError) throws(APIError) -> JSONObject {
    guard let object = row.object, let messages = row["messages"], isConversation(messages) else {
      throw fail("has no list of messages with roles")
    }
    guard messages.array?.contains(where: { $0["role"]?.string == "assistant" }) == true else {
      throw fail("has no message of the assistant")
    }
    if messages.array?.contains(where: { $0["weight"]?.double == 0 }) == true {
      throw fail("leaves a message out by its weight, which is not supported")
    }
    return object
  }

  private static func pair(_ row: JSONValue, _ fail: (String) -> APIError) throws(APIError) -> JSONObject {
    guard let prompt = row["input"]?["messages"], let chosen = row["preferred_output"],
      let rejected = row["non_preferred_output"], [prompt, chosen, rejected].allSatisfy(isConversation)
    else { throw fail("needs input.messages, preferred_output and non_preferred_output") }
    var object = JSONObject([("prompt", prompt), ("chosen", chosen), ("rejected", rejected)])
    object["tools"] = row["input"]?["tools"]
    return object
  }

  private static func isConversation(_ json: JSONValue) -> Bool {
    guard let messages = json.array, !messages.isEmpty else { return false }
    return messages.allSatisfy { $0["role"]?.string?.isEmpty == false }
  }
}
