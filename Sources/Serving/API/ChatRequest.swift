import ChatTemplates
import Diagnostics
import Models
import OrderedJSON

/// A request to `/v1/chat/completions`, as in OpenAI's API, with the extensions of vLLM and llama.cpp that concern chat
/// templates.
struct ChatRequest {
  let model: String
  let messages: [Message]
  let tools: JSONValue?
  let thinking: Bool?
  let parameters: SamplingParameters
  let format: AnswerFormat
  let topLogprobs: Int?

  init(_ json: JSONValue, defaultModel: String) throws {
    let reader = RequestReader(json: json)
    model = try reader.string("model") ?? defaultModel
    messages = try Self.messages(reader)
    tools = try Self.tools(reader)
    thinking = try Self.thinking(reader)
    parameters = try SamplingParameters(reader)
    format = try Self.format(reader)
    let wantsLogprobs = try reader.bool("logprobs") ?? false
    let top = try reader.integer("top_logprobs", in: 0...20)
    topLogprobs = wantsLogprobs ? top ?? 0 : nil
  }

  private static func messages(_ reader: RequestReader) throws(APIError) -> [Message] {
    guard let elements = try reader.array("messages"), !elements.isEmpty else {
      throw .invalidRequest("\"messages\" must be an array of at least one message.", parameter: "messages")
    }
    var messages: [Message] = []
    for (index, element) in elements.enumerated() {
      let place = "messages[\(index)]"
      guard let object = element.object, let role = object["role"]?.string else {
        throw .invalidRequest("\(place) must be an object with a role.", parameter: place)
      }
      var message = Message(object)
      // Templates know the older name.
      if role == "developer" { message.role = "system" }
      message.content = try content(object["content"], place)
      if !message.toolCalls.isEmpty { message.toolCalls = message.toolCalls.map(decodedArguments) }
      messages.append(message)
    }
    return messages
  }

  /// The text of a content, which may be in parts.
  private static func content(_ content: JSONValue?, _ place: String) throws(APIError) -> String {
    switch content {
    case nil, .null?: return ""
    case .string(let text)?: return text
    case .array(let parts)?:
      var texts: [String] = []
      for part in parts {
        guard part["type"]?.string == "text", let text = part["text"]?.string else {
          throw .invalidRequest("\(place) has a part that is not text. These models read only text.", parameter: place)
        }
        texts.append(text)
      }
      return texts.joined(separator: "\n")
    default: throw .invalidRequest("The content of \(place) must be a string or an array of parts.", parameter: place)
    }
  }

  /// Clients send the arguments of a tool call as a string; templates expect the object.
  private static func decodedArguments(_ call: JSONValue) -> JSONValue {
    guard var object = call.object, var function = object["function"]?.object,
      let text = function["arguments"]?.string, let arguments = try? JSONValue(parsing: text)
    else { return call }
    function["arguments"] = arguments
    object["function"] = .object(function)
    return .object(object)
  }

  private static func tools(_ reader: RequestReader) throws(APIError) -> JSONValue? {
    let tools = try reader.array("tools")
    switch reader.json["tool_choice"] {
    case nil, .null?, .string("auto")?: return tools.flatMap { $0.isEmpty ? nil : .array($0) }
    case .string("none")?: return nil
    default:
      throw .invalidRequest("\"tool_choice\" can only be \"auto\" or \"none\".", parameter: "tool_choice")
    }
  }

  /// `chat_template_kwargs.enable_thinking` as with vLLM and llama.cpp, or `reasoning_effort: "none"`.
  private static func thinking(_ reader: RequestReader) throws(APIError) -> Bool? {
    if let thinking = try reader.object("chat_template_kwargs")?.bool("enable_thinking") { return thinking }
    return try reader.string("reasoning_effort") == "none" ? false : nil
  }

  private static func format(_ reader: RequestReader) throws(APIError) -> AnswerFormat {
    guard let format = try reader.object("response_format") else { return .text }
    switch try format.string("type") {
    case "text": return .text
    case "json_object": return .jsonObject
    case "json_schema":
      guard let schema = try format.object("json_schema")?.object("schema") else {
        throw .invalidRequest(
          "\"response_format.json_schema.schema\" must be a JSON schema.", parameter: "response_format")
      }
      // An unusable schema is refused now, not after the answer has begun.
      _ = try JSONSchemaDocument(schema.json)
      return .jsonSchema(schema.json)
    default:
      throw .invalidRequest(
        "\"response_format.type\" must be text, json_object or json_schema.", parameter: "response_format")
    }
  }
}
