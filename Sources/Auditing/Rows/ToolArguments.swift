import ChatTemplates
import OrderedJSON

/// Finds arguments of tool calls that were encoded as JSON twice.
enum ToolArguments {
  /// Whether a message calls a tool with arguments that are a JSON string of a JSON string, or writes a call as text
  /// whose arguments are a JSON string instead of an object.
  static func areEncodedTwice(in message: Message) -> Bool {
    for call in message.toolCalls {
      let function = call["function"] ?? call
      // The OpenAI format encodes arguments once; a second layer decodes to a string again.
      if let text = function["arguments"]?.string, let inner = try? JSONValue(parsing: text), inner.string != nil {
        return true
      }
    }
    return message.role == "assistant" && areEncodedTwice(in: message.content)
  }

  /// Whether a text contains `"arguments": "{\"`: an object inside a JSON string.
  static func areEncodedTwice(in text: String) -> Bool {
    guard text.utf8.contains(UInt8(ascii: "\\")) else { return false }
    for key in ["\"arguments\"", "\"parameters\""] {
      for place in text.places(ofBytes: key) {
        let rest = text[place.upperBound...].drop { $0 == " " || $0 == ":" }
        if rest.hasPrefix("\"{\\\"") || rest.hasPrefix("\"{}\"") { return true }
      }
    }
    return false
  }
}
