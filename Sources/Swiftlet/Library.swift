// `import Swiftlet` is enough: it brings in every module whose types appear in this module's API.
@_exported import Auditing
@_exported import ChatTemplates
@_exported import Collectives
@_exported import Datasets
@_exported import Diagnostics
@_exported import Models
@_exported import OrderedJSON
@_exported import Recipes
@_exported import Reports
@_exported import Tensors
@_exported import Training
