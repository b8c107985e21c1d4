import Diagnostics
import OrderedJSON

/// The tokens put before and after those of a text: the `single` template of `TemplateProcessing`, or what BERT's and
/// RoBERTa's processors amount to for one text.
struct PostProcessor: Sendable {
  var before: [Int32] = []
  var after: [Int32] = []

  private static let known = ["TemplateProcessing", "ByteLevel", "BertProcessing", "RobertaProcessing", "Sequence"]

  /// No tokens.
  init(before: [Int32] = [], after: [Int32] = []) {
    self.before = before
    self.after = after
  }

  /// The `post_processor` of a `tokenizer.json`.
  init(_ configuration: ConfigurationValue) throws(SwiftletError) {
    for part in try configuration.parts("processors") {
      switch try part.type() {
      case "TemplateProcessing":
        let (first, last) = try Self.template(part)
        before = first + before
        after += last
      case "BertProcessing", "RobertaProcessing":
        before = [try Self.pairedID(try part.required("cls"))] + before
        after.append(try Self.pairedID(try part.required("sep")))
      case "ByteLevel": break  // Trims offsets only.
      case let type: throw part.unknownType(type, known: Self.known)
      }
    }
  }

  /// The id of `["[CLS]", 101]`.
  private static func pairedID(_ pair: ConfigurationValue) throws(SwiftletError) -> Int32 {
    let elements = try pair.elements()
    guard elements.count == 2 else { throw pair.error("must hold a token and its id") }
    return try id(elements[1])
  }

  private static func id(_ configuration: ConfigurationValue) throws(SwiftletError) -> Int32 {
    let id = try configuration.integer()
    guard (0..<Vocabulary.idLimit).contains(id) else { throw configuration.error("is not an id a token can have") }
    return Int32(truncatingIfNeeded: id)
  }

  private static func template(_ part: ConfigurationValue) throws(SwiftletError) -> ([Int32], [Int32]) {
    var before: [Int32] = []
    var after: [Int32] = []
    var isPastText = false
    for piece in try part.required("single").elements() {
      if piece.member("Sequence") != nil {
        if isPastText { throw piece.error("is a second Sequence, but one text has one") }
        isPastText = true
        continue
      }
      let name = try piece.required("SpecialToken").string("id")
      let token = try part.required("special_tokens").required(name)
      var ids: [Int32] = []
      for element in try token.required("ids").elements() { ids.append(try id(element)) }
      if isPastText { after += ids } else { before += ids }
    }
    return (before, after)
  }
}
