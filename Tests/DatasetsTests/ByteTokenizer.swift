import ChatTemplates
import Datasets
import OrderedJSON

extension RowTokenizer {
  /// A tokenizer with one token per UTF-8 byte. Token 256 is BOS, if `addsBOS` is set, and 257 is the EOS token `</s>`.
  /// The template renders a line `role:content</s>` per message.
  static func bytes(addsBOS: Bool = false) -> RowTokenizer {
    RowTokenizer(
      encode: { text, addsSpecialTokens in
        (addsSpecialTokens && addsBOS ? [256] : []) + encoded(text).ids
      },
      encodeWithOffsets: { encoded($0) },
      decode: { id in id == 257 ? "</s>" : String(decoding: [UInt8(clamping: id)], as: UTF8.self) },
      isAdded: { $0 >= 256 }, eosToken: "</s>", bosTokenID: addsBOS ? 256 : nil,
      render: { rendered($0) })
  }

  private static func encoded(_ text: String) -> (ids: [Int32], offsets: [Range<Int>]) {
    var ids: [Int32] = []
    var offsets: [Range<Int>] = []
    let bytes = Array(text.utf8)
    let end = Array("</s>".utf8)
    var index = 0
    while index < bytes.count {
      let isEnd = bytes[index...].starts(with: end)
      let next = index + (isEnd ? end.count : 1)
      ids.append(isEnd ? 257 : Int32(bytes[index]))
      offsets.append(index..<next)
      index = next
    }
    return (ids, offsets)
  }

  private static func rendered(_ conversation: Conversation) -> ChatTemplate.Rendering {
    var rendering = ChatTemplate.Rendering(text: "")
    for message in conversation.messages {
      rendering.text += message.role + ":"
      let start = rendering.text.utf8.count
      rendering.text += message.content + "</s>"
      if message.role == "assistant" {
        rendering.generationSpans.append(start..<rendering.text.utf8.count)
      }
      rendering.text += "\n"
    }
    if conversation.addsGenerationPrompt { rendering.text += "assistant:" }
    return rendering
  }
}
