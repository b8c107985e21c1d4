import Diagnostics
import OrderedJSON

/// The tokens to add before and after a text: the `single` template of `TemplateProcessing`, or the equivalent for
/// BERT's and RoBERTa's post-processors.
struct PostProcessor: Sendable {
  var before: [Int32] = []
  var after: [Int32] = []

  private static let supported = [
    "TemplateProcessing", "ByteLevel", "BertProcessing", "RobertaProcessing", "Sequence",
  ]

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
      case "ByteLevel": break  // Only changes offsets.
      case let type: throw part.unsupportedType(type, supported: Self.supported)
      }
    }
  }

  /// The id in a pair such as `["[CLS]", 101]`.
  private static func pairedID(_ pair: ConfigurationValue) throws(SwiftletError) -> Int32 {
    let elements = try pair.elements()
    guard elements.count == 2 else { throw pair.error("must be an array of a token and its id") }
    return try elements[1].tokenID()
  }

  private static func template(_ part: ConfigurationValue) throws(SwiftletError) -> ([Int32], [Int32]) {
    var before: [Int32] = []
    var after: [Int32] = []
    var isAfterText = false
    for piece in try part.required("single").elements() {
      if piece.member("Sequence") != nil {
        if isAfterText { throw piece.error("is a second Sequence; the template for a single text has one") }
        isAfterText = true
        continue
      }
      let name = try piece.required("SpecialToken").string("id")
      let token = try part.required("special_tokens").required(name)
      var ids: [Int32] = []
      for element in try token.required("ids").elements() { ids.append(try element.tokenID()) }
      if isAfterText { after += ids } else { before += ids }
    }
    return (before, after)
  }
}
