import Diagnostics
import OrderedJSON

/// The part of JSON Schema that output can be constrained to: types, properties, items, enumerations, alternatives and
/// references. Objects have the properties that the schema names, in its order.
indirect enum JSONSchema: Sendable {
  /// Any value.
  case any
  case string, number, integer, boolean, null
  /// The exact text of a value.
  case literal([UInt8])
  case object([Property])
  /// An object with any members.
  case anyObject
  case array(JSONSchema, minimum: Int, maximum: Int?)
  case anyOf([JSONSchema])
  /// A definition by name, so that schemas can be recursive.
  case reference(String)

  struct Property: Sendable {
    /// The name as a JSON string, quotes included.
    var key: [UInt8]
    var schema: JSONSchema
    var isRequired: Bool
  }
}

/// A schema with the definitions it refers to.
package struct JSONSchemaDocument: Sendable {
  let root: JSONSchema
  let definitions: [String: JSONSchema]

  /// Any JSON object, as in OpenAI's JSON mode.
  package static let anyObject = JSONSchemaDocument(root: .anyObject, definitions: [:])

  private init(root: JSONSchema, definitions: [String: JSONSchema]) {
    (self.root, self.definitions) = (root, definitions)
  }

  /// Reads a schema.
  /// - Throws: `APIError` naming a keyword that output can't be constrained to.
  package init(_ json: JSONValue) throws(APIError) {
    var definitions: [String: JSONSchema] = [:]
    for member in ["$defs", "definitions"] {
      for (name, schema) in json[member]?.object?.members ?? [] {
        definitions["#/\(member)/\(name)"] = try Self.read(schema)
      }
    }
    let root = try Self.read(json)
    definitions["#"] = root
    self.init(root: root, definitions: definitions)
    try checkReferences(root)
    for schema in definitions.values { try checkReferences(schema) }
  }

  private static let unsupported = [
    "pattern", "patternProperties", "not", "if", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minLength", "maxLength", "uniqueItems", "contains", "prefixItems", "minProperties", "maxProperties",
    "dependentRequired", "dependentSchemas", "propertyNames",
  ]

  private static func read(_ json: JSONValue) throws(APIError) -> JSONSchema {
    if let truth = json.bool {
      guard truth else { throw .invalidRequest("The JSON schema false allows no output.") }
      return .any
    }
    guard let object = json.object else { throw .invalidRequest("A JSON schema must be an object.") }
    if let keyword = unsupported.first(where: { object[$0] != nil }) {
      throw .invalidRequest("The JSON schema uses \"\(keyword)\", which output can't be constrained to. Remove it.")
    }
    if let reference = object["$ref"]?.string { return .reference(reference) }
    if let value = object["const"] { return .literal(Array(value.text(.compact).utf8)) }
    if let values = object["enum"]?.array { return .anyOf(values.map { .literal(Array($0.text(.compact).utf8)) }) }
    if let schemas = object["allOf"]?.array {
      guard schemas.count == 1 else {
        throw .invalidRequest("The JSON schema uses \"allOf\" with several schemas. Merge them into one.")
      }
      return try read(schemas[0])
    }
    for keyword in ["anyOf", "oneOf"] {
      guard let schemas = object[keyword]?.array else { continue }
      return .anyOf(try list(schemas))
    }
    if let types = object["type"]?.array {
      var alternatives: [JSONSchema] = []
      for type in types { alternatives.append(try read(type.string ?? "", object)) }
      return .anyOf(alternatives)
    }
    if let type = object["type"]?.string { return try read(type, object) }
    return object["properties"] == nil ? .any : try read("object", object)
  }

  private static func list(_ schemas: [JSONValue]) throws(APIError) -> [JSONSchema] {
    var list: [JSONSchema] = []
    for schema in schemas { list.append(try read(schema)) }
    return list
  }

  private static func read(_ type: String, _ object: JSONObject) throws(APIError) -> JSONSchema {
    switch type {
    case "string": return .string
    case "number": return .number
    case "integer": return .integer
    case "boolean": return .boolean
    case "null": return .null
    case "array":
      let items = try object["items"].map { json throws(APIError) in try read(json) } ?? .any
      return .array(items, minimum: object["minItems"]?.integer ?? 0, maximum: object["maxItems"]?.integer)
    case "object":
      guard let members = object["properties"]?.object?.members, !members.isEmpty else { return .anyObject }
      let required = Set(object["required"]?.array?.compactMap(\.string) ?? [])
      var properties: [JSONSchema.Property] = []
      for (name, schema) in members {
        properties.append(
          JSONSchema.Property(
            key: Array(JSONValue.string(name).text(.compact).utf8), schema: try read(schema),
            isRequired: required.contains(name)))
      }
      return .object(properties)
    default: throw .invalidRequest("The JSON schema has the type \(type.quotedExcerpt), which doesn't exist.")
    }
  }

  private func checkReferences(_ schema: JSONSchema) throws(APIError) {
    switch schema {
    case .reference(let name):
      guard definitions[name] != nil else {
        throw .invalidRequest("The JSON schema refers to \(name.quotedExcerpt), which it doesn't define.")
      }
    case .object(let properties): for property in properties { try checkReferences(property.schema) }
    case .array(let items, _, _): try checkReferences(items)
    case .anyOf(let schemas): for schema in schemas { try checkReferences(schema) }
    default: break
    }
  }
}
