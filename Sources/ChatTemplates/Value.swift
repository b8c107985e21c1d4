import Diagnostics

/// A value in a running template, one case for each kind of Python object that a template can handle.
enum Value {
  case undefined(Undefined)
  case none
  case bool(Bool)
  case integer(Int)
  /// An integer beyond 64 bits, as its digits. It can be printed and compared, but not calculated with.
  case largeInteger(String)
  case number(Double)
  case string(String)
  /// Text marked `safe`, like `markupsafe.Markup`: strings added to it are HTML-escaped.
  case markup(String)
  case list(Elements)
  case tuple(Elements)
  /// A pair from `groupby`: a named tuple with `grouper` and `list`.
  case group(Elements)
  case dictionary(Mapping)
  case view(View)
  case range(NumberRange)
  case generator(Generator)
  case namespace(Namespace)
  case loop(LoopState)
  case macro(Macro)
  case function(Builtin)
  case method(Method)
  case cycler(Cycler)
  case joiner(Joiner)

  /// The text of a string or markup.
  var text: String? {
    switch self {
    case .string(let text), .markup(let text): text
    default: nil
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }
  var isNone: Bool { if case .none = self { true } else { false } }

  /// The nesting depth of lists and dictionaries.
  var depth: Int {
    switch self {
    case .list(let elements), .tuple(let elements), .group(let elements): elements.depth
    case .dictionary(let dictionary): dictionary.depth
    case .view(let view): view.elements.depth
    case .generator(let generator): generator.depth
    case .method(let method): method.receiver.depth + 1
    case .loop(let loop): loop.depth
    default: 0
    }
  }

  /// The value of an integer, or of a boolean as 0 or 1.
  var index: Int? {
    switch self {
    case .integer(let value): value
    case .bool(let truth): truth ? 1 : 0
    default: nil
    }
  }

  /// The name of the type in Python.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .integer, .largeInteger: "int"
    case .number: "float"
    case .string: "str"
    case .markup: "Markup"
    case .list: "list"
    case .tuple: "tuple"
    case .group: "_GroupTuple"
    case .dictionary: "dict"
    case .view(let view): view.kind.rawValue
    case .range: "range"
    case .generator(let generator): generator.typeName
    case .namespace: "TemplateNamespace"
    case .loop: "LoopContext"
    case .macro: "Macro"
    case .function: "function"
    case .method: "builtin_function_or_method"
    case .cycler: "Cycler"
    case .joiner: "Joiner"
    }
  }

  /// The name of the value in Jinja2's messages about missing attributes.
  var objectName: String {
    switch self {
    case .none: "None"
    case .namespace: "transformers.utils.chat_template_utils.TemplateNamespace object"
    case .undefined, .loop, .macro: "jinja2.runtime.\(typeName) object"
    case .markup: "markupsafe.Markup object"
    case .group: "jinja2.filters._GroupTuple object"
    case .cycler, .joiner: "jinja2.utils.\(typeName) object"
    default: "\(typeName) object"
    }
  }
}

/// Why a value is undefined. Anything but printing and testing it throws the message.
enum Undefined {
  case variable(String)
  case attribute(objectName: String, String)
  case element(objectName: String, String)
  case unsafeAttribute(typeName: String, String)
  case because(String)

  var message: String {
    switch self {
    case .variable(let name): "'\(name)' is undefined"
    case .attribute(let object, let name): "'\(object)' has no attribute \(PythonText.quoted(name))"
    case .element(let object, let element): "\(object) has no element \(element)"
    case .unsafeAttribute(let type, let name):
      "access to attribute \(PythonText.quoted(name)) of \(PythonText.quoted(type)) object is unsafe."
    case .because(let reason): reason
    }
  }
}

/// The elements of a list or tuple, with their nesting depth.
struct Elements {
  let items: [Value]
  let depth: Int

  init(_ items: [Value]) {
    self.items = items
    depth = 1 + items.reduce(0) { max($0, $1.depth) }
  }
}

/// A dictionary in insertion order. Lookup is linear, which is fastest for the few keys of chat data.
struct Mapping {
  let members: [Member]
  let depth: Int

  /// Creates a dictionary from members with distinct keys.
  init(distinct members: [Member]) {
    self.members = members
    depth = 1 + members.reduce(0) { max($0, $1.value.depth, $1.key.depth) }
  }

  subscript(key: String) -> Value? {
    for member in members {
      if let text = member.key.text, PythonText.same(text, key) { return member.value }
    }
    return nil
  }
}

extension Mapping {
  /// A key and its value.
  struct Member {
    let key: Value
    var value: Value

    init(_ key: Value, _ value: Value) {
      self.key = key
      self.value = value
    }
  }
}

/// `dict.items()`, `keys()` or `values()`.
struct View {
  enum Kind: String {
    case items = "dict_items"
    case keys = "dict_keys"
    case values = "dict_values"
  }

  let kind: Kind
  let elements: Elements
}

/// Python's `range`.
struct NumberRange {
  let start: Int
  let stop: Int
  let step: Int
  let count: Int

  /// `nil` if the numbers overflow or the range is longer than the limit.
  init?(start: Int, stop: Int, step: Int) {
    let (distance, overflow) = stop.subtractingReportingOverflow(start)
    guard !overflow, step != 0, step != .min, distance != .min else { return nil }
    (self.start, self.stop, self.step) = (start, stop, step)
    let isEmpty = step > 0 ? distance <= 0 : distance >= 0
    count = isEmpty ? 0 : (abs(distance) - 1) / abs(step) + 1
    if count > Limits.rangeCount { return nil }
  }

  func value(at index: Int) -> Value { .integer(start + index * step) }
  var values: [Value] { (0..<count).map(value) }
}
