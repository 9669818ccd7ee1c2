from paipa_etl.runners._fill_python import PieceBuilder as PieceBuilder
from paipa_etl.runners._fill_python import fill as fill
