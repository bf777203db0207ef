// QuPath: find the cells of the open image with bccd, and take them in with types and measurements.
// Automate > Script editor, open this file, Run. A selected annotation limits it to its bounding box.
// Set BCCD to the command of your installation, OPTIONS to what you want it to know.
def BCCD = "bccd"
def OPTIONS = ["--save", "geojson"]

import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjectTools
import qupath.lib.regions.RegionRequest

def server = getCurrentServer()
def roi = getSelectedROI()
def request = roi == null ? RegionRequest.createInstance(server)
    : RegionRequest.createInstance(server.getPath(), 1.0, roi)
def folder = java.nio.file.Files.createTempDirectory("bccd").toFile()
def image = new File(folder, "field.tif")
writeImageRegion(server, request, image.getAbsolutePath())

def size = server.getPixelCalibration()
def known = size.hasPixelSizeMicrons() ? ["--pixel-size", size.getAveragedPixelSizeMicrons().toString()] : []
def out = new File(folder, "out")
def call = [BCCD, "predict", "--images", image.path, "--out", out.path, "--quiet"] + OPTIONS + known
println call.join(" ")
def process = new ProcessBuilder(call).redirectErrorStream(true).start()
process.inputStream.eachLine { println it }
if (process.waitFor() != 0) {
    println "bccd did not work: see above"
    return
}
def cells = PathIO.readObjects(new File(out, "geojson/field.geojson"))
// The outlines are those of the region: move them to its place in the whole image.
cells = cells.collect { PathObjectTools.transformObject(it,
    java.awt.geom.AffineTransform.getTranslateInstance(request.getX(), request.getY()), true) }
addObjects(cells)
fireHierarchyUpdate()
println cells.size() + " cells"
folder.deleteDir()
